"""The architecture of a checkpoint, read from the shapes of its tensors."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from lseg_serve.model.architecture import Architecture
from lseg_serve.model.checkpoint import Checkpoint
from lseg_serve.model.errors import CheckpointError

_HEAD_CHANNELS = 64  # in CLIP and in every ViT that LSeg was built on, an attention head has 64 channels
REGULARIZER = "scratch.head_block.depthwise.depthwise.weight"


def detect_architecture(checkpoint: Checkpoint, stated: dict[str, Any]) -> Architecture:
    """The architecture of `checkpoint`: sizes from its tensors, the rest from `stated`, else its hyper-parameters.

    `stated` may hold `arch_option`, `block_depth` and `activation`; a None in it counts as absent.

    Raises:
        CheckpointError: a tensor that tells a size is missing, a value is not accepted, or the tensors have other
            sizes than the file states.
    """
    try:
        sizes = {
            **_image_encoder(checkpoint.tensors),
            **_decoder(checkpoint.tensors),
            **_text_encoder(checkpoint.tensors),
        }
        if checkpoint.architecture is not None:
            return _agreeing(checkpoint.architecture, sizes)
        return Architecture(**sizes, **_regularizer(checkpoint, stated))
    except KeyError as error:
        raise CheckpointError(f"{checkpoint.path}: missing {error.args[0]}") from error
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from error


def _agreeing(stated: Architecture, sizes: dict[str, Any]) -> Architecture:
    """What a file states, if its tensors have these sizes. Heads are the one size that tensors do not tell."""
    for name, size in sizes.items():
        value = getattr(stated, name)
        if value != size and name not in ("heads", "text_heads"):
            raise ValueError(f"the file states {name} {value!r}, but its tensors have {size!r}")
    return stated


def _shape(tensors: dict[str, Tensor], key: str, dimensions: int) -> tuple[int, ...]:
    """The shape of a tensor; ValueError if it has another number of dimensions or an empty one."""
    shape = tuple(tensors[key].shape)
    if len(shape) != dimensions or 0 in shape:
        raise ValueError(f"wrong shape: {key} {list(shape)}; accepted: {dimensions} dimensions, none of them empty")
    return shape


def _count(tensors: dict[str, Tensor], pattern: str) -> int:
    """How many different values the group of `pattern` has among the keys."""
    return len({match[1] for key in tensors if (match := re.match(pattern, key))})


def _image_encoder(tensors: dict[str, Tensor]) -> dict[str, Any]:
    if "pretrained.layer1.0.weight" in tensors:
        prefixes = (r"layer1\.4", "layer2", "layer3", "layer4")
        blocks = tuple(_count(tensors, rf"pretrained\.{prefix}\.(\d+)\.conv1\.weight") for prefix in prefixes)
        return {"backbone": "resnet", "resnet_blocks": blocks}
    width, _, patch_size, _ = _shape(tensors, "pretrained.model.patch_embed.proj.weight", 4)
    positions = _shape(tensors, "pretrained.model.pos_embed", 3)[1] - 1
    return {
        "patch_size": patch_size,
        "width": width,
        "depth": _count(tensors, r"pretrained\.model\.blocks\.(\d+)\."),
        "heads": max(1, width // _HEAD_CHANNELS),
        "position_grid": round(positions**0.5),
    }


def _decoder(tensors: dict[str, Tensor]) -> dict[str, Any]:
    levels = [_shape(tensors, f"scratch.layer{level}_rn.weight", 4) for level in (1, 2, 3, 4)]
    return {
        "level_channels": tuple(shape[1] for shape in levels),
        "features": levels[0][0],
        "embedding": _shape(tensors, "scratch.head1.weight", 4)[0],
        "batch_norm": "scratch.refinenet1.resConfUnit1.bn1.weight" in tensors,
    }


def _text_encoder(tensors: dict[str, Tensor]) -> dict[str, Any]:
    context_length, width = _shape(tensors, "clip_pretrained.positional_embedding", 2)
    return {
        "text_width": width,
        "text_depth": _count(tensors, r"clip_pretrained\.transformer\.resblocks\.(\d+)\."),
        "text_heads": max(1, width // _HEAD_CHANNELS),
        "context_length": context_length,
        "vocabulary": _shape(tensors, "clip_pretrained.token_embedding.weight", 2)[0],
    }


def _regularizer(checkpoint: Checkpoint, stated: dict[str, Any]) -> dict[str, Any]:
    """The three options that tensors do not tell: options 1 and 2 have the same tensors, and all rounds share them."""
    values = {
        name: stated.get(name) if stated.get(name) is not None else checkpoint.hyper_parameters.get(name)
        for name in ("arch_option", "block_depth", "activation")
    }
    if REGULARIZER not in checkpoint.tensors:
        given = next((name for name, value in stated.items() if value is not None and value != 0), None)
        if given is not None:
            raise ValueError(f"{given} is {stated[given]}, but the file has no {REGULARIZER}")
        return {}
    if values["arch_option"] not in (1, 2) or None in values.values():
        raise ValueError(
            f"the file has a {REGULARIZER} but does not say how it is used; "
            f"state arch_option (1 or 2), block_depth and activation"
        )
    return values
