"""Attention on a Gaudi, which has no kernel for torch's own: that one would compute in float32, whatever autocast says.

Gaudi's `FusedSDPA` computes it at once, without the map of all pairs of tokens in memory. It is not in all software and
may compute the softmax in bfloat16. So it is taken only where it proves to be as accurate as two products in bfloat16
with a softmax in float32, which every Gaudi can compute.
"""

from __future__ import annotations

import importlib
import logging

import torch
from torch import Tensor

from lseg_serve.model import Attend, attend_by_products
from lseg_serve.segmenter.config import HpuParams
from lseg_serve.segmenter.devices.hpu.bridge import PACKAGE
from lseg_serve.segmenter.errors import DeviceError

logger = logging.getLogger(__name__)

# How much larger the mean error of the fused attention may be than that of the products.
_TOLERANCE = 2.0


def choose_attention(params: HpuParams) -> Attend:
    """The attention that `hpu.attention` names. `auto` is the fused one if it is there, works and is accurate.

    Without `hpu.bfloat16`, `auto` is the products: the fused kernel is made for bfloat16.

    Raises:
        DeviceError: the fused one is asked for, and the installed software does not have it.
    """
    if params.attention == "products" or (params.attention == "auto" and not params.bfloat16):
        return attend_by_products
    try:
        kernel = importlib.import_module(f"{PACKAGE}.hpex.kernels").FusedSDPA
    except (ImportError, AttributeError, OSError) as error:
        if params.attention == "fused":
            raise DeviceError(
                f"hpu.attention is 'fused', but this software has no FusedSDPA ({error}); accepted here: auto, products"
            ) from error
        return attend_by_products

    def attend_fused(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        result: Tensor = kernel.apply(queries, keys, values, None, 0.0, False)
        return result

    problem = None if params.attention == "fused" else _problem(attend_fused)
    if problem is not None:
        logger.warning("Attention by products, because FusedSDPA %s", problem)
        return attend_by_products
    return attend_fused


def _problem(attend: Attend) -> str | None:
    """Why `attend` is not to be used on the card, in words; None if it is as good as products on the host."""
    made = torch.Generator().manual_seed(0)
    inputs = [(2 * torch.randn(1, 2, 64, 64, generator=made)).bfloat16() for _ in range(3)]
    queries, keys, values = (one.double() for one in inputs)
    expected = torch.softmax(queries @ keys.transpose(-2, -1) / 8, dim=-1) @ values  # 8: the root of 64
    allowed = _TOLERANCE * _mean_error(attend_by_products(inputs[0], inputs[1], inputs[2]), expected)
    try:
        with torch.no_grad():
            on_card = [one.to("hpu") for one in inputs]
            error = _mean_error(attend(on_card[0], on_card[1], on_card[2]).cpu(), expected)
    except (RuntimeError, AssertionError, TypeError) as failure:
        return f"does not run: {failure}"
    return None if error <= allowed else f"has a mean error of {error:.1e}; accepted: up to {allowed:.1e}"


def _mean_error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).abs().mean())
