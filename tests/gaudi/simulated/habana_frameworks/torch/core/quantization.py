"""Inference mode: the functions that a program calls before and after it moves a model to the card.

Their names changed after 1.19; what is common is here, and each software's names are made from it below.
"""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from typing import Any

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from habana_frameworks.torch import hpu
from habana_frameworks.torch.simulated.environment import SOFTWARE
from habana_frameworks.torch.simulated.tensor import HpuTensor
from habana_frameworks.torch.utils.internal import is_lazy

_constants = 0


def _fused(model: nn.Module) -> nn.Module:
    """The model with each batch normalisation folded into the convolution before it, where both stand in a row."""
    for child in model.children():
        _fused(child)
    names = list(model._modules)
    for first, second in pairwise(names):
        convolution, norm = model._modules[first], model._modules[second]
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and not model.training:
            model._modules[first] = fuse_conv_bn_eval(convolution, norm)
            model._modules[second] = nn.Identity()
    return model


def _set_env(model: nn.Module | None = None) -> nn.Module | None:
    hpu.enable_inference_mode()
    if os.environ.get("PT_HPU_WEIGHT_SHARING", "1").lower() not in ("0", "false"):
        print("\x1b[31mWARNING: The experimental weight sharing feature is enabled (simulated)\x1b[0m", file=sys.stderr)
    return None if model is None else _fused(model)


def _initialize(model: nn.Module | None = None) -> None:
    """Mark the parameters as constants, which become part of every graph's key (lazy mode only)."""
    global _constants
    hpu.enable_inference_mode()
    if model is None or not is_lazy():
        return
    for parameter in model.parameters():
        if isinstance(parameter, HpuTensor) and parameter.constant_id is None:
            parameter.constant_id = _constants
            _constants += 1


def _reset_env() -> None:
    hpu.disable_inference_mode()


def _deprecated(name: str) -> None:
    if SOFTWARE >= (1, 21):
        print(f"[TO BE DEPRECATED] Please use {name}", file=sys.stderr)


if SOFTWARE >= (1, 21):

    def hpu_inference_set_env(model: nn.Module | None = None) -> nn.Module | None:
        """Call before moving the model to the card. Returns the fused model where one was given, else None."""
        return _set_env(model)

    def hpu_inference_initialize(
        model: nn.Module | None = None,
        mark_only_scales_as_const: bool = False,
        mark_scales: bool = True,
        mark_non_scales: bool = True,
        optimizer: Any = None,
        args: Any = None,
    ) -> None:
        """Call after moving the model to the card."""
        _initialize(model if mark_non_scales and not mark_only_scales_as_const else None)

    def hpu_inference_reset_env() -> None:
        """Undo `hpu_inference_set_env`."""
        _reset_env()

else:

    def hpu_inference_initialize(  # type: ignore[misc]
        model: nn.Module | None = None,
        mark_only_scales_as_const: bool = False,
        optimizer: Any = None,
        args: Any = None,
    ) -> None:
        """Call after moving the model to the card."""
        _initialize(None if mark_only_scales_as_const else model)


def hpu_set_env(model: nn.Module | None = None) -> nn.Module | None:
    """The oldest name of what is called before moving the model to the card."""
    _deprecated("hpu_inference_set_env")
    return _set_env(model)


def hpu_set_inference_env(model: nn.Module | None = None) -> nn.Module | None:
    """The name of 1.19 for what is called before moving the model to the card."""
    _deprecated("hpu_inference_set_env")
    return _set_env(model)


def hpu_teardown_inference_env() -> None:
    """The name of 1.19 for what undoes it."""
    _deprecated("hpu_inference_reset_env")
    _reset_env()
