"""Which precision an archive gets: what its target computes well, and what is accurate enough.

Speed is measured and printed as advice. It decides nothing, for a clock reads differently each time, and the same
checkpoint must give the same archive.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch

from lseg_serve.export.comparison import TOLERANCES, Difference, Reference, measured_seconds
from lseg_serve.model import LSeg, int8
from lseg_serve.segmenter import Config, kind_at_hand

logger = logging.getLogger(__name__)

AUTO = "auto"
PRECISIONS = (AUTO, *TOLERANCES)
# What is tried for each kind of target, in this order, before float32 is taken.
_TRIED = {
    "cpu-amx": ("bfloat16", "int8"),
    "cpu-avx512-bf16": ("int8", "bfloat16"),
    "cpu-vnni": ("int8",),
    "cpu": (),
    "cuda": ("bfloat16",),
    "hpu": (),  # a Gaudi's worker lowers float32 itself, by `hpu.bfloat16`
}
TARGETS = (AUTO, *_TRIED)
_LEAST_AGREEMENT = 0.99


def precisions_to_try(precision: str, target: str, config: Config) -> tuple[str, ...]:
    """The precisions to try, in order. The last one is taken without being tried.

    Args:
        precision: one of `PRECISIONS`; whatever is not `auto` is taken as it is.
        target: one of `TARGETS`; `auto` is the device that a worker with `config` would choose on this machine.
        config: the worker's configuration.
    """
    if precision != AUTO:
        return (precision,)
    tried = _tried_here(config) if target == AUTO else _TRIED[target]
    return (*tried, "float32")


def _tried_here(config: Config) -> tuple[str, ...]:
    kind = kind_at_hand(config)
    if kind != "cpu":
        return _TRIED[kind]
    has_amx = torch.cpu._is_amx_tile_supported()
    there = {
        "int8": int8.unavailable_reason() is None,
        "bfloat16": has_amx or torch.cpu._is_avx512_bf16_supported(),
    }
    return tuple(precision for precision in _TRIED["cpu-amx" if has_amx else "cpu-avx512-bf16"] if there[precision])


def choose_precision(precisions: Sequence[str], make: Callable[[str], LSeg], reference: Reference) -> tuple[LSeg, str]:
    """The network in the first of `precisions` that is accurate enough, else in the last; and which it is.

    Args:
        precisions: in the order of preference.
        make: gives a new network of the checkpoint's weights in a precision.
        reference: what the checkpoint computes.
    """
    *tried, otherwise = precisions
    for precision in tried:
        net = make(precision)
        logits = net.logits(reference.pixels, reference.labels)
        seconds = measured_seconds(net, reference.pixels)
        if _is_accurate(Difference.between(logits, seconds, reference), precision):
            return net, precision
        del net  # its memory is needed for the next
    return make(otherwise), otherwise


def _is_accurate(difference: Difference, precision: str) -> bool:
    tolerance = TOLERANCES[precision]
    accurate = difference.largest <= tolerance and difference.agreement >= _LEAST_AGREEMENT
    logger.info(
        "%s is %s: logits within %.1e (accepted: %s), %.2f%% of labels the same (accepted: %.0f%%); on this machine's "
        "CPU, which decides nothing, %.2f times as fast as the checkpoint",
        precision,
        "taken" if accurate else "left",
        difference.largest,
        tolerance,
        100 * difference.agreement,
        100 * _LEAST_AGREEMENT,
        difference.checkpoint_seconds / difference.seconds,
    )
    return accurate
