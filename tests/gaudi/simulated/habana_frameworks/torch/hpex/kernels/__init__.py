"""Fused attention, in software that has it: where SIMULATED_GAUDI_FUSED_SDPA is `exact` or `coarse`."""

import os

import torch
from torch import Tensor

from habana_frameworks.torch.simulated.counts import count_type

_KIND = os.environ.get("SIMULATED_GAUDI_FUSED_SDPA")

if _KIND:

    class FusedSDPA:
        """Products in the type of the inputs and a softmax in float32, or in 3 bits where it is coarse."""

        @staticmethod
        def apply(
            query: Tensor,
            key: Tensor,
            value: Tensor,
            attn_mask: Tensor | None = None,
            dropout_p: float = 0.0,
            is_causal: bool = False,
            scale: float | None = None,
        ) -> Tensor:
            count_type("FusedSDPA", query.dtype)
            with torch.autocast("hpu", enabled=False):
                scores = query @ key.transpose(-2, -1) * (scale or query.shape[-1] ** -0.5)
                weights = torch.softmax(scores, -1, dtype=torch.float32)
                if _KIND == "coarse":
                    weights = (weights * 8).round() / 8
                return weights.to(value.dtype) @ value
