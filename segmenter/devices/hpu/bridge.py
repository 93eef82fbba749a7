"""Intel's bridge from PyTorch to the cards, `habana_frameworks.torch`: its settings, and loading it with them.

The bridge reads most of its environment variables once, when it is loaded. So it is loaded only here, after they have
been set. Torch itself loads it when torch is imported, unless `PT_HPU_AUTOLOAD` is 0.

Sources: the Gaudi documentation (Runtime Flags, Mixed Precision), and the published source of the bridge.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import torch

from lseg_serve.segmenter.config import HpuMode
from lseg_serve.segmenter.errors import DeviceError

PACKAGE = "habana_frameworks.torch"

_FOLDER = Path(__file__).resolve().parent
_MODE = "PT_HPU_LAZY_MODE"


def installed() -> bool:
    """Whether the bridge is installed. It is looked up but not loaded, because its environment is not set yet."""
    try:
        return importlib.util.find_spec(PACKAGE) is not None
    except ModuleNotFoundError:
        return False


def mode_of(hpu_mode: HpuMode) -> HpuMode:
    """The mode that `hpu_mode` stands for: `auto` is lazy with Intel's own build of torch, and eager with any other.

    Lazy mode needs that build. It has the bridge's version or a git commit after the `+` of its own version, such as
    2.9.0+hpu_1.23.0-695.git8598e6d.
    """
    if hpu_mode != "auto":
        return hpu_mode
    return "lazy" if str(torch.__version__).partition("+")[2].startswith(("hpu", "git")) else "eager"


def settings(mode: HpuMode) -> dict[str, str]:
    """The environment variables that the bridge reads when it is loaded, with the values that `mode` needs."""
    return {
        # Always set, because the default has changed between versions.
        _MODE: "0" if mode == "eager" else "1",
        "PT_HPU_ENABLE_CACHE_METRICS": "1",
        # Without this, the exact GELU is replaced by its tanh approximation.
        "PT_HPU_FORCE_TANH_FOR_GELU": "0",
        # What autocast computes in bfloat16: the operators that take the most time. Gaudi's own list also has layer
        # norm and softmax, but in bfloat16 these lose lang-seg's accuracy. So they are on the second list, of operators
        # that stay in float32. Both files replace Gaudi's lists.
        "PT_HPU_AUTOCAST_LOWER_PRECISION_OPS_LIST": str(_FOLDER / "bfloat16_operators.txt"),
        "PT_HPU_AUTOCAST_FP32_OPS_LIST": str(_FOLDER / "float32_operators.txt"),
    }


def load(mode: HpuMode) -> ModuleType:
    """`habana_frameworks.torch.core`, which registers the device with torch, loaded with the settings of `mode`.

    A setting that the environment has already is kept, except for the mode.

    Raises:
        DeviceError: it cannot be loaded, or it was loaded before with other settings.
    """
    if PACKAGE in sys.modules:
        _refuse_other_settings(mode)
    os.environ[_MODE] = settings(mode)[_MODE]
    for name, value in settings(mode).items():
        os.environ.setdefault(name, value)
    try:
        core = importlib.import_module(f"{PACKAGE}.core")
        lazy = _is_lazy()
    except (ImportError, AttributeError, AssertionError, OSError, RuntimeError) as error:
        # A library that is missing is an OSError; what the bridge makes of a torch it does not know, the others.
        raise DeviceError(
            f"{PACKAGE} cannot be imported ({type(error).__name__}: {error}); it works with the driver, libraries and "
            "torch of its own version only, as in one of Intel Gaudi's PyTorch images"
        ) from error
    if lazy == (mode == "eager"):
        raise DeviceError(f"hpu_mode is {mode!r}, but {PACKAGE} runs in {'lazy' if lazy else 'eager'} mode")
    return core


def version() -> str:
    """The version of the loaded bridge, such as 1.23.0.695."""
    return str(getattr(importlib.import_module(PACKAGE), "__version__", "unknown"))


def _is_lazy() -> bool:
    return bool(importlib.import_module(f"{PACKAGE}.utils.internal").is_lazy())


def _refuse_other_settings(mode: HpuMode) -> None:
    """Stop where the bridge was loaded in another mode, or without one of the settings."""
    wanted, lazy = settings(mode), _is_lazy()
    late = [name for name in wanted if name not in os.environ]
    if lazy == (mode != "eager"):
        late = [name for name in late if name != _MODE]  # the default was the mode that is wanted
        if not late:
            return
    assignments = " ".join(f"{name}={value}" for name, value in wanted.items())
    raise DeviceError(
        f"hpu_mode is {mode!r}, but {PACKAGE} was imported before in {'lazy' if lazy else 'eager'} mode"
        f"{' without ' + ', '.join(late) if late else ''}, which it reads only then; set PT_HPU_AUTOLOAD=0 in the "
        f"environment that the program starts in, or else {assignments}"
    )
