"""Operators that Gaudi has no kernel for: they run on the host, between two graphs."""

from __future__ import annotations

import os
from typing import Any

from habana_frameworks.torch.simulated import capture
from habana_frameworks.torch.simulated.counts import TOTALS
from habana_frameworks.torch.simulated.recorder import RECORDER
from habana_frameworks.torch.utils.event_dispatcher import EventId, publish

# Not in the list of operators that the 1.19 software registers. Newer software may have some of them.
_MISSING = frozenset(
    [
        "_upsample_bilinear2d_aa",
        "_upsample_bicubic2d_aa",
        "im2col",
        "col2im",
        "native_group_norm",
        "bincount",
        "histc",
        "_cdist_forward",
        "mode",
        "bucketize",
        "isin",
        "_fft_r2c",
        "_fft_c2r",
        "_fft_c2c",
    ]
)


def missing_operators() -> frozenset[str]:
    """Names without overload; SIMULATED_GAUDI_FALLBACK_OPS adds to them and SIMULATED_GAUDI_NATIVE_OPS removes.

    A name with a type, as argmax:int64, is missing for inputs of that type only.
    """
    added = os.environ.get("SIMULATED_GAUDI_FALLBACK_OPS", "").split(",")
    native = os.environ.get("SIMULATED_GAUDI_NATIVE_OPS", "").split(",")
    return (_MISSING | set(added)) - set(native)


def arguments_need_host(base: str, values: dict[str, Any]) -> bool:
    """Whether a native operator is called in a way that its kernel does not know; `values`: its arguments by name."""
    match base:
        case "avg_pool2d":
            return values.get("divisor_override") is not None
        case "gather":
            return bool(values.get("sparse_grad", False))
        case "topk":
            return not values.get("sorted", True)
        case "addmm":
            return bool((values.get("beta", 1), values.get("alpha", 1)) != (1, 1))
        case "elu":
            return bool(values.get("scale", 1) != 1)
        case _:
            return False


# Operators whose arguments decide.
CHECKED = frozenset(("avg_pool2d", "gather", "topk", "addmm", "elu"))


def enter(name: str) -> None:
    """Go to the host for the operator `name`, as aten::name.overload.

    Raises:
        RuntimeError: PT_HPU_PLACE_ON_CPU forbids it, or an HPU graph is being captured.
    """
    if capture.capturing():
        raise RuntimeError("cpu fallback is not supported during hpu graph capturing")
    allowed = os.environ.get("PT_HPU_PLACE_ON_CPU", "")
    base = name.removeprefix("aten::")
    if allowed and base.partition(".")[0] not in allowed.replace("aten::", "").split(","):
        raise RuntimeError(f"{name} is not yet supported on HPU.")
    RECORDER.cut(f"CPU fallback of {name}")
    TOTALS.fallbacks[name] = TOTALS.fallbacks.get(name, 0) + 1
    publish(EventId.CPU_FALLBACK, op_name=name)
