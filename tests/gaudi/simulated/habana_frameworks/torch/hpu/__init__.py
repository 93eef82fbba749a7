"""`torch.hpu`, simulated: the card, its memory, its streams."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from habana_frameworks.torch.hpu import metrics
from habana_frameworks.torch.hpu.memory import (
    max_memory_allocated,
    mem_get_info,
    memory_allocated,
    memory_reserved,
    memory_stats,
    memory_summary,
    memory_usage,
    reset_accumulated_memory_stats,
    reset_peak_memory_stats,
)
from habana_frameworks.torch.hpu.selection import current_device, device, device_count, device_of, set_device
from habana_frameworks.torch.hpu.streams import (
    Event,
    Stream,
    current_stream,
    default_stream,
    set_stream,
    stream,
    synchronize,
)
from habana_frameworks.torch.simulated.device import DEVICE
from habana_frameworks.torch.simulated.environment import SOFTWARE, Machine
from habana_frameworks.torch.simulated.recipes import RECIPES
from habana_frameworks.torch.utils.internal import is_lazy

__all__ = [
    "Event",
    "Stream",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "device_of",
    "max_memory_allocated",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "memory_summary",
    "memory_usage",
    "metrics",
    "reset_accumulated_memory_stats",
    "reset_peak_memory_stats",
    "set_device",
    "set_stream",
    "stream",
    "synchronize",
]

if is_lazy() or SOFTWARE >= (1, 21):
    from habana_frameworks.torch.hpu.graphs import HPUGraph, wrap_in_hpu_graph, wrap_in_hpu_graph_func

    __all__ += ["HPUGraph", "wrap_in_hpu_graph", "wrap_in_hpu_graph_func"]  # noqa: PLE0605

_recompute_sdp = True


def is_available() -> bool:
    """Whether a card is visible, be it free or not. Never raises."""
    return device_count() > 0


def is_initialized() -> bool:
    """Whether this process holds its card."""
    return DEVICE.acquired


def init() -> None:
    """Acquire the card; raises RuntimeError where none can be had."""
    DEVICE.acquire()


def _lazy_init() -> None:
    """Called by torch before it uses the device."""
    DEVICE.acquire()


def _is_in_bad_fork() -> bool:
    return False  # the device says so itself when it is used


def manual_seed_all(seed: int) -> None:
    """Nothing: random numbers come from the CPU's generator, which torch.manual_seed sets as well."""


def get_amp_supported_dtype() -> list[torch.dtype]:
    """What autocast may cast to."""
    return [torch.bfloat16] if Machine.from_environment().device_name == "GAUDI" else [torch.bfloat16, torch.float16]


def get_device_name(device: Any = None) -> str:
    """The generation, as GAUDI2; an empty text with a warning where there is no card."""
    if not is_available():
        warnings.warn("Device not available", stacklevel=2)
        return ""
    if torch.device(device if device is not None else "hpu").index not in (None, 0):
        raise AssertionError("Invalid device id")
    DEVICE.acquire()
    return Machine.from_environment().device_name


def get_device_capability(device: Any = None) -> str:
    """The driver's version as text, unlike CUDA's pair."""
    return ".".join(map(str, SOFTWARE)) + ".0-simulated"


def get_device_properties(device: Any = None) -> str:
    """Addresses and sizes in one text."""
    DEVICE.acquire()
    machine = Machine.from_environment()
    return (
        f"(sramBaseAddress=0, dramBaseAddress=0, sramSize=0, dramSize={machine.memory}, tpcEnabledMask=0, "
        f"dramEnabled=1, fd=0, device_id=0, device_type={_DEVICE_TYPES.get(machine.device_name, 4)})"
    )


_DEVICE_TYPES = {"GAUDI": 2, "GAUDI2": 4, "GAUDI3": 5}


def get_arch_list() -> list[str]:
    """The one generation that is there."""
    return [get_device_name()]


def get_gencode_flags() -> str:
    """Nothing, as on the real device."""
    return ""


def is_bf16_supported() -> bool:
    """Whether there is a card: every generation has bfloat16."""
    return is_available()


def utilization(device: Any = None) -> int:
    """Needs the real management library, which is not simulated."""
    raise ModuleNotFoundError("pyhlml module not found, please install pyhlml")


def enable_inference_mode() -> None:
    """From now on the process runs inference: the recipe folder carries the rank."""
    RECIPES.inference_mode = True


def disable_inference_mode() -> None:
    """Undo `enable_inference_mode`."""
    RECIPES.inference_mode = False


def enable_recompute_sdp(enabled: bool) -> None:
    """Whether fused attention recomputes; changes nothing here."""
    global _recompute_sdp
    _recompute_sdp = enabled


def recompute_sdp_enabled() -> bool:
    """What `enable_recompute_sdp` was last given."""
    return _recompute_sdp


@contextlib.contextmanager
def sdp_kernel(enable_recompute: bool = True) -> Iterator[None]:
    """`enable_recompute_sdp` for a block."""
    before = recompute_sdp_enabled()
    enable_recompute_sdp(enable_recompute)
    try:
        yield
    finally:
        enable_recompute_sdp(before)


_dynamic_shapes = os.environ.get("PT_HPU_ENABLE_REFINE_DYNAMIC_SHAPES", "0").lower() in ("1", "true")


def enable_dynamic_shape() -> None:
    """Noted only: dynamic shapes are not simulated, every new shape compiles."""
    global _dynamic_shapes
    _dynamic_shapes = True


def disable_dynamic_shape() -> None:
    """Undo `enable_dynamic_shape`."""
    global _dynamic_shapes
    _dynamic_shapes = False


def get_dynamic_shape_status() -> bool:
    """What was last asked for."""
    return _dynamic_shapes
