"""The sections inside the `lseg` section: image sizes, accurate mode, Gaudi."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from lseg_serve.segmenter.config.section import Accepted, Section
from lseg_serve.segmenter.errors import ConfigError

_STEEPEST = 10  # height to width or width to height; beyond, a bucket takes more memory than any image needs

# Types are strict, so that a list of texts is no list of numbers. Lists themselves may come as YAML's or as tuples.
_AnyList = Field(strict=False, min_length=1)
_Positive = Field(gt=0, allow_inf_nan=False)
Side = Annotated[int, Field(ge=32, le=4096)]


def _refuse_steep(ratio: tuple[float, float]) -> tuple[float, float]:
    if max(ratio) > _STEEPEST * min(ratio):
        raise ValueError
    return ratio


def _ascending(values: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(set(values)))


_Ratio = Annotated[
    tuple[Annotated[float, _Positive], Annotated[float, _Positive]],
    Field(strict=False),
    AfterValidator(_refuse_steep),
]


class StaticImageSizeParams(Section):
    """The image sizes that the network sees: every ratio at every short side, rounded to what the network takes."""

    place: ClassVar[str] = "lseg.static_image_size_params"

    hw_ratios: Annotated[
        tuple[_Ratio, ...],
        _AnyList,
        Accepted(f"a list of [height, width] pairs, such as [3, 4], one side up to {_STEEPEST} times the other"),
        Field(description="Ratios of height to width. An image is resized to the size with the nearest ratio."),
    ] = ((9, 16), (16, 9), (3, 4), (4, 3), (1, 1))
    short_sizes: Annotated[
        tuple[Side, ...],
        _AnyList,
        Accepted("a list of whole numbers of pixels, 32 to 4096"),
        Field(description="Pixels of the shorter side. Sides are rounded to multiples of 32."),
    ] = (480,)


class AccurateParams(Section):
    """Accurate mode: scales, mirror images and a sliding window; the defaults are lang-seg's published evaluation."""

    place: ClassVar[str] = "lseg.accurate"

    scales: Annotated[
        tuple[Annotated[float, _Positive, Field(le=8)], ...],
        _AnyList,
        Accepted("a list of numbers above 0, up to 8"),
        Field(description="Sizes at which the image is segmented, relative to `base_size`; their scores are summed."),
    ] = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    flip: Annotated[bool, Field(description="Whether the mirror image of each window counts as well.")] = True
    crop_size: Annotated[
        int, Field(ge=32, le=4096, multiple_of=32, description="Pixels of the side of the sliding window.")
    ] = 480
    base_size: Annotated[int, Field(ge=32, le=8192, description="Pixels of the image's long side at scale 1.")] = 520
    stride: Annotated[
        int,
        Accepted("a whole number from 1 to `crop_size`"),
        Field(ge=1, description="Pixels from one window to the next. Above `crop_size` windows would leave gaps."),
    ] = 320
    resize: Annotated[
        Literal["bilinear", "nearest"],
        Field(description="How images and scores are resized. The Gaudi fork's demo used nearest."),
    ] = "bilinear"

    @field_validator("stride")
    @classmethod
    def _windows_leave_no_gap(cls, stride: int, info: ValidationInfo) -> int:
        crop_size = info.data.get("crop_size", stride)
        if stride > crop_size:
            raise ConfigError(f"{cls.place}.stride is {stride}; accepted: a whole number from 1 to {crop_size}")
        return stride

    @property
    def passes(self) -> int:
        """How often each window goes through the network."""
        return 2 if self.flip else 1

    @property
    def divisor(self) -> int:
        """What turns the published sum of logits into their mean."""
        return len(self.scales) * self.passes


class HpuParams(Section):
    """How a Gaudi card is used. Other devices read none of it. Lists are kept in ascending order, each value once."""

    place: ClassVar[str] = "lseg.hpu"

    bfloat16: Annotated[
        bool,
        Field(description="Whether the image network runs in bfloat16. Norms, softmax, text and scores stay float32."),
    ] = True
    attention: Annotated[
        Literal["auto", "fused", "products"],
        Field(
            description="How the image network attends: `fused` (Gaudi's FusedSDPA) or `products` (with a softmax in"
            " float32). `auto`: `fused` where the software has it and it is as accurate."
        ),
    ] = "auto"
    batch_sizes: Annotated[
        tuple[Annotated[int, Field(ge=1, le=64)], ...],
        _AnyList,
        Accepted("a list of whole numbers from 1 to 64"),
        AfterValidator(_ascending),
        Field(description="How many images or windows go through the network together."),
    ] = (1, 4)
    token_lengths: Annotated[
        tuple[Annotated[int, Field(ge=1, le=77)], ...],
        _AnyList,
        Accepted("a list of whole numbers from 1 to 77"),
        AfterValidator(_ascending),
        Field(description="Numbers of tokens. A label is padded to the next of them, or to 77."),
    ] = (16, 77)
    max_graphs: Annotated[int, Field(ge=1, le=100_000, description="The most graphs that a worker compiles.")] = 22
    recipe_cache: Annotated[
        str,
        Accepted("a folder without a comma, or '' for none"),
        Field(
            pattern="^[^,]*$",
            description="Folder of compiled graphs, shared by all workers and the next start. Each version of the"
            " software, generation of cards and choice of settings has a folder in it.",
        ),
    ] = "~/.cache/lseg/recipes"
    recipe_cache_megabytes: Annotated[
        int, Field(ge=1, le=1_000_000, description="The most megabytes of each folder in `hpu.recipe_cache`.")
    ] = 4096
    card_locks: Annotated[
        str,
        Accepted("a folder"),
        Field(min_length=1, description="Folder by which this user's workers on this host agree who has which card."),
    ] = "~/.cache/lseg/cards"
    warm_up_seconds: Annotated[
        int,
        Field(ge=0, le=1_000_000, description="Warm-up stops after these; what is not compiled by then stays cold."),
    ] = 1500
    least_free_megabytes: Annotated[
        int, Field(ge=0, le=1_000_000, description="Warm-up stops where less of the card's memory is left.")
    ] = 1024
