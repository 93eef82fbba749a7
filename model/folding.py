"""Batch normalisation folded into the convolution before it: the same function with fewer tensors and less work."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norm(module: nn.Module) -> None:
    """Replace each convolution and its batch norm below `module`, in place, by one convolution with a bias.

    Works on the meta device too, where it gives the structure of a folded checkpoint.
    """
    for parent, conv_name, norm_name in list(_pairs(module)):
        conv, norm = parent.get_submodule(conv_name), parent.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        setattr(parent, conv_name, fuse_conv_bn_eval(conv.eval(), norm.eval()))
        setattr(parent, norm_name, nn.Identity())


def _pairs(module: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """(parent, name of the convolution, name of its batch norm): `conv1` goes with `bn1`, and `0` with `1`."""
    for parent in module.modules():
        for name, child in parent.named_children():
            if not isinstance(child, nn.BatchNorm2d):
                continue
            yield parent, "0" if name == "1" else name.replace("bn", "conv"), name
