"""What an LSeg network looks like: one dataclass, and the published networks as presets."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from lseg_serve.model.words import shortened

Backbone = Literal["vit", "resnet"]
Activation = Literal["lrelu", "relu", "tanh"]
ACTIVATIONS: tuple[Activation, ...] = ("lrelu", "relu", "tanh")

# The first level lies at 1/4 of the input, each further one at half of the one before (DPT, arXiv 2103.13413).
LEVEL_STRIDES = (4, 8, 16, 32)

# The largest networks that are accepted: several times the largest that are published. A file can state any number.
_MOST_BLOCKS = 256
_MOST_CHANNELS = 16_384
_BOUNDS = {
    "patch_size": (1, 32),
    "width": (1, _MOST_CHANNELS),
    "depth": (4, _MOST_BLOCKS),
    "heads": (1, _MOST_BLOCKS),
    "position_grid": (1, 1024),
    "features": (1, _MOST_CHANNELS),
    "embedding": (1, _MOST_CHANNELS),
    "text_width": (1, _MOST_CHANNELS),
    "text_depth": (1, _MOST_BLOCKS),
    "text_heads": (1, _MOST_BLOCKS),
    "context_length": (3, 4096),
    "vocabulary": (1, 10_000_000),
    "block_depth": (0, 100),
}


@dataclass(frozen=True)
class Architecture:
    """Every size of an LSeg network; the defaults are `clip_vitl16_384`, the published demo model.

    Raises:
        ValueError: a value outside what the network can be built with, named in the message.
    """

    backbone: Backbone = "vit"
    # Image encoder, vit: patch side in pixels, token width, blocks, heads, side of the learned position grid.
    patch_size: int = 16
    width: int = 1024
    depth: int = 24
    heads: int = 16
    position_grid: int = 24
    # Image encoder, resnet: bottleneck blocks in each of the four stages.
    resnet_blocks: tuple[int, int, int, int] = (3, 4, 23, 3)
    # Decoder: channels of the four levels, of the fusion blocks, and length of an embedding.
    level_channels: tuple[int, int, int, int] = (256, 512, 1024, 1024)
    features: int = 256
    embedding: int = 512
    # Text tower (CLIP's): width, blocks, heads, tokens in a text, size of the vocabulary.
    text_width: int = 512
    text_depth: int = 12
    text_heads: int = 8
    context_length: int = 77
    vocabulary: int = 49408
    # lang-seg's regularisation: arch_option 0 none, 1 bottleneck, 2 depthwise; rounds; activation between rounds.
    arch_option: int = 0
    block_depth: int = 0
    activation: Activation = "lrelu"
    # False once batch normalisation has been folded into the convolutions before it.
    batch_norm: bool = True
    # True once the layers that carry most of the work have int8 weights (see model/int8.py).
    int8: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be built, before any tensor is made."""
        if self.backbone not in ("vit", "resnet"):
            raise ValueError(f"backbone is {shortened(self.backbone)}; accepted: 'vit', 'resnet'")
        for name, (lowest, highest) in _BOUNDS.items():
            _check_count(name, getattr(self, name), lowest, highest)
        for name, highest in (("resnet_blocks", _MOST_BLOCKS), ("level_channels", _MOST_CHANNELS)):
            values = getattr(self, name)
            if not isinstance(values, tuple) or len(values) != 4:
                raise ValueError(f"{name} is {shortened(values)}; accepted: four whole numbers")
            for value in values:
                _check_count(name, value, 1, highest)
        if self.backbone == "vit" and self.patch_size not in (8, 16, 32):
            raise ValueError(f"patch_size is {self.patch_size}; accepted: 8, 16, 32")
        if self.backbone == "vit" and self.depth % 4:
            raise ValueError(f"depth is {self.depth}; accepted: a multiple of 4, one quarter for each level")
        for width, heads in (("width", "heads"), ("text_width", "text_heads")):
            if getattr(self, width) % getattr(self, heads):
                raise ValueError(
                    f"{width} is {getattr(self, width)}; accepted: a multiple of {heads}, {getattr(self, heads)}"
                )
        if type(self.arch_option) is not int or self.arch_option not in (0, 1, 2):
            raise ValueError(f"arch_option is {shortened(self.arch_option)}; accepted: 0, 1, 2")
        for name in ("batch_norm", "int8"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name} is {shortened(getattr(self, name))}; accepted: true, false")
        if self.int8 and self.batch_norm:
            raise ValueError("int8 is true while batch_norm is; accepted: int8 layers where batch norms are folded")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation is {shortened(self.activation)}; accepted: {', '.join(ACTIVATIONS)}")

    @property
    def stride(self) -> int:
        """The sides of an input must be multiples of this, in pixels."""
        return self.patch_size if self.backbone == "vit" else LEVEL_STRIDES[-1]

    @property
    def out_indices(self) -> tuple[int, ...]:
        """Indices of the transformer blocks whose outputs become the four levels (lang-seg's `hooks`)."""
        return tuple(self.depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4))

    def as_dict(self) -> dict[str, Any]:
        """The values as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Architecture:
        """The inverse of `as_dict`.

        Raises:
            ValueError: no dictionary, an unknown name, or a value that is not accepted.
        """
        if not isinstance(values, dict):
            raise ValueError(f"the architecture is a {type(values).__name__}; accepted: names and values")
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown architecture value {unknown[0]!r}; accepted: {', '.join(sorted(known))}")
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**values)


def _check_count(name: str, value: object, lowest: int, highest: int) -> None:
    if type(value) is not int or not lowest <= value <= highest:
        raise ValueError(f"{name} is {shortened(value)}; accepted: a whole number from {lowest} to {highest}")


_VIT_L16 = Architecture()
_VIT_B32 = Architecture(
    patch_size=32, width=768, depth=12, heads=12, position_grid=12, level_channels=(96, 192, 384, 768)
)


def _with_rn50x16_text(architecture: Architecture) -> Architecture:
    return replace(architecture, embedding=768, text_width=768, text_heads=12)


def _with_rn50x4_text(architecture: Architecture) -> Architecture:
    return replace(architecture, embedding=640, text_width=640, text_heads=10)


PRESETS: dict[str, Architecture] = {
    "clip_vitl16_384": _VIT_L16,
    "clip_vitb32_384": _VIT_B32,
    "clipRN50x16_vitl16_384": _with_rn50x16_text(_VIT_L16),
    "clipRN50x4_vitl16_384": _with_rn50x4_text(_VIT_L16),
    "clipRN50x16_vitb32_384": _with_rn50x16_text(_VIT_B32),
    "clipRN50x4_vitb32_384": _with_rn50x4_text(_VIT_B32),
    "clip_resnet101": Architecture(backbone="resnet", level_channels=(256, 512, 1024, 2048)),
}


def preset_name(architecture: Architecture) -> str | None:
    """The published name of an architecture's backbone, whatever its regularisation; None for a size of one's own."""
    plain = replace(architecture, arch_option=0, block_depth=0, activation="lrelu", batch_norm=True, int8=False)
    return next((name for name, preset in PRESETS.items() if preset == plain), None)
