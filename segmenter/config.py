"""The worker's configuration: the `lseg` section of model-config.yaml as one typed dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from lseg_serve.segmenter.errors import ConfigError

DEVICES = ("auto", "hpu", "cuda", "cpu")
MODES = ("fast", "accurate")
RESIZES = ("bilinear", "nearest")
HPU_MODES = ("lazy", "graphs", "eager")
SECTION = "lseg"
_STEEPEST = 10  # height to width or width to height; beyond, a bucket takes more memory than any image needs

# What TorchServe itself reads at the top level of model-config.yaml. It ignores any other key without a word, so a
# misspelt one is refused here.
_TORCHSERVE_KEYS = frozenset(
    {
        "asyncCommunication",
        "batchSize",
        "clientTimeoutInMills",
        "continuousBatching",
        "deviceIds",
        "deviceType",
        "jobQueueSize",
        "maxBatchDelay",
        "maxNumSequence",
        "maxRetryTimeoutInSec",
        "maxSequenceJobQueueSize",
        "maxWorkers",
        "minWorkers",
        "parallelLevel",
        "parallelType",
        "responseTimeout",
        "sequenceBatching",
        "sequenceMaxIdleMSec",
        "sequenceTimeoutMSec",
        "startupTimeout",
        "torchrun",
        "useJobTicket",
        "useVenv",
    }
)


@dataclass(frozen=True)
class StaticImageSizeParams:
    """The image sizes that the network sees: every ratio at every short side, rounded to what the network takes."""

    hw_ratios: tuple[tuple[float, float], ...] = ((9, 16), (16, 9), (3, 4), (4, 3), (1, 1))  # height to width
    short_sizes: tuple[int, ...] = (480,)  # pixels

    @classmethod
    def from_mapping(cls, values: object) -> StaticImageSizeParams:
        """Checked values of the key `static_image_size_params`."""
        if not isinstance(values, Mapping):
            raise ConfigError(f"static_image_size_params is {values!r}; accepted: hw_ratios and short_sizes")
        _refuse_unknown("static_image_size_params.", values, {field.name for field in fields(cls)})
        ratios = values.get("hw_ratios", cls.hw_ratios)
        if not _is_list(ratios) or not all(_is_list(r) and len(r) == 2 and all(map(_is_positive, r)) for r in ratios):
            raise ConfigError(f"hw_ratios is {ratios!r}; accepted: a list of [height, width] pairs, such as [3, 4]")
        steep = next((ratio for ratio in ratios if max(ratio) > _STEEPEST * min(ratio)), None)
        if steep is not None:
            raise ConfigError(f"hw_ratios has {steep!r}; accepted: one side up to {_STEEPEST} times the other")
        sizes = values.get("short_sizes", cls.short_sizes)
        if not _is_list(sizes) or not all(isinstance(size, int) and 32 <= size <= 4096 for size in sizes):
            raise ConfigError(f"short_sizes is {sizes!r}; accepted: a list of whole numbers of pixels, 32 to 4096")
        return cls(tuple((float(h), float(w)) for h, w in ratios), tuple(sizes))


@dataclass(frozen=True)
class AccurateParams:
    """Accurate mode: scales, mirror images and a sliding window; the defaults are lang-seg's published evaluation."""

    scales: tuple[float, ...] = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    flip: bool = True  # whether the mirror image of each window counts as well
    crop_size: int = 480  # pixels, side of the window
    base_size: int = 520  # pixels, long side of the image at scale 1
    stride: int = 320  # pixels from one window to the next
    resize: str = "bilinear"  # of images and scores; the Gaudi fork's demo used nearest

    @property
    def passes(self) -> int:
        """How often each window goes through the network."""
        return 2 if self.flip else 1

    @property
    def divisor(self) -> int:
        """What turns the published sum of logits into their mean."""
        return len(self.scales) * self.passes

    @classmethod
    def from_mapping(cls, values: object) -> AccurateParams:
        """Checked values of the key `accurate`."""
        values = _section("accurate", values, [field.name for field in fields(cls)])
        scales = values.get("scales", cls.scales)
        if not _is_list(scales) or not all(_is_positive(scale) and scale <= 8 for scale in scales):
            raise ConfigError(f"accurate.scales is {scales!r}; accepted: a list of numbers above 0, up to 8")
        return cls(**{**values, "scales": tuple(float(scale) for scale in scales)})

    def __post_init__(self) -> None:
        """Refuse windows that the network cannot take or that would not cover the image."""
        _check_whole_number("accurate.crop_size", self.crop_size, 32, 4096)
        if self.crop_size % 32:
            raise ConfigError(f"accurate.crop_size is {self.crop_size!r}; accepted: a multiple of 32")
        _check_whole_number("accurate.base_size", self.base_size, 32, 8192)
        _check_whole_number("accurate.stride", self.stride, 1, self.crop_size)
        if not isinstance(self.flip, bool):
            raise ConfigError(f"accurate.flip is {self.flip!r}; accepted: true, false")
        if self.resize not in RESIZES:
            raise ConfigError(f"accurate.resize is {self.resize!r}; accepted: {', '.join(RESIZES)}")


@dataclass(frozen=True)
class HpuParams:
    """How a Gaudi card is used. Other devices read none of it. Lists are kept in ascending order, each value once."""

    bfloat16: bool = True  # the image network; norms, softmax, text and scores stay float32
    batch_sizes: tuple[int, ...] = (1, 4)  # images or windows that go through the network together
    token_lengths: tuple[int, ...] = (16, 77)  # of labels; a longer one takes the next
    max_graphs: int = 25
    recipe_cache: str = "~/.cache/lseg/recipes"  # folder of compiled graphs, shared by all workers; empty: none
    recipe_cache_megabytes: int = 4096
    card_locks: str = "~/.cache/lseg/cards"  # folder by which this user's workers agree who has which card
    warm_up_seconds: int = 1500  # after these, what is not compiled yet stays cold
    least_free_megabytes: int = 1024  # of the card; warm-up stops where less is left

    @classmethod
    def from_mapping(cls, values: object) -> HpuParams:
        """Checked values of the key `hpu`."""
        values = _section("hpu", values, [field.name for field in fields(cls)])
        lists = {name: values[name] for name in ("batch_sizes", "token_lengths") if name in values}
        for name, value in lists.items():
            if not _is_list(value):
                raise ConfigError(f"hpu.{name} is {value!r}; accepted: a list of whole numbers")
        return cls(**{**values, **{name: tuple(value) for name, value in lists.items()}})

    def __post_init__(self) -> None:
        """Refuse values that no graph could be made for."""
        if not isinstance(self.bfloat16, bool):
            raise ConfigError(f"hpu.bfloat16 is {self.bfloat16!r}; accepted: true, false")
        if not isinstance(self.recipe_cache, str):
            raise ConfigError(f"hpu.recipe_cache is {self.recipe_cache!r}; accepted: a folder, or '' for none")
        if not isinstance(self.card_locks, str) or not self.card_locks:
            raise ConfigError(f"hpu.card_locks is {self.card_locks!r}; accepted: a folder")
        if "," in self.recipe_cache:
            raise ConfigError(f"hpu.recipe_cache is {self.recipe_cache!r}; accepted: a folder without a comma")
        for name, highest in (("batch_sizes", 64), ("token_lengths", 77)):
            for value in getattr(self, name):
                _check_whole_number(f"hpu.{name}", value, 1, highest)
            object.__setattr__(self, name, tuple(sorted(set(getattr(self, name)))))
        for name, lowest, highest in (
            ("max_graphs", 1, 100_000),
            ("recipe_cache_megabytes", 1, 1_000_000),
            ("warm_up_seconds", 0, 1_000_000),
            ("least_free_megabytes", 0, 1_000_000),
        ):
            _check_whole_number(f"hpu.{name}", getattr(self, name), lowest, highest)


@dataclass(frozen=True)
class Config:
    """Every key of the `lseg` section, with the values that hold where it says nothing."""

    device: str = "auto"
    fall_back: bool = False  # whether a device that is asked for by name and missing is replaced by the CPU
    hpu_mode: str = "lazy"  # lazy, lazy with HPU graphs, or eager with torch.compile
    default_lazy_mode_label_number: int = 20  # labels are filled up to this number, or to it doubled and doubled again
    dynamic_image_hw: tuple[int, int] | None = None  # pixels; the one image size of every device but a lazy Gaudi
    hpu: HpuParams = field(default_factory=HpuParams)
    mode: str = "fast"  # for requests that name none
    static_image_size_params: StaticImageSizeParams = StaticImageSizeParams()
    accurate: AccurateParams = field(default_factory=AccurateParams)
    max_labels: int = 255  # the mask is 8 bits, and 255 itself means unlabelled
    max_label_length: int = 200  # characters; the tokenizer's time grows with the square of a word's length
    max_image_pixels: int = 64_000_000
    max_response_bytes: int = 100_000_000
    text_cache_size: int = 10_000  # labels; one takes 2 kB
    feature_cache_megabytes: int = 128  # of images seen before; 480x640 pixels take 20 MB; 0: none

    def __post_init__(self) -> None:
        """Refuse values that no request could be served with."""
        if self.device not in DEVICES:
            raise ConfigError(f"device is {self.device!r}; accepted: {', '.join(DEVICES)}")
        if self.mode not in MODES:
            raise ConfigError(f"mode is {self.mode!r}; accepted: {', '.join(MODES)}")
        if not isinstance(self.fall_back, bool):
            raise ConfigError(f"fall_back is {self.fall_back!r}; accepted: true, false")
        if self.hpu_mode not in HPU_MODES:
            raise ConfigError(f"hpu_mode is {self.hpu_mode!r}; accepted: {', '.join(HPU_MODES)}")
        if self.dynamic_image_hw is not None:
            if not _is_list(self.dynamic_image_hw) or len(self.dynamic_image_hw) != 2:
                raise ConfigError(f"dynamic_image_hw is {self.dynamic_image_hw!r}; accepted: [height, width]")
            for side in self.dynamic_image_hw:
                _check_whole_number("dynamic_image_hw", side, 32, 4096)
        for name, lowest, highest in (
            ("default_lazy_mode_label_number", 1, 255),
            ("max_labels", 1, 255),
            ("max_label_length", 1, 1_000),
            ("max_image_pixels", 1, 1_000_000_000),
            ("max_response_bytes", 1_000, 2_000_000_000),
            ("text_cache_size", 1, 10_000_000),
            ("feature_cache_megabytes", 0, 1_000_000),
        ):
            _check_whole_number(name, getattr(self, name), lowest, highest)

    @classmethod
    def from_mapping(cls, document: Mapping[str, Any]) -> Config:
        """The configuration in a whole model-config.yaml, TorchServe's own keys checked as well.

        Raises:
            ConfigError: an unknown key, a value that is not accepted, or keys that TorchServe would ignore.
        """
        _refuse_unknown("", document, _TORCHSERVE_KEYS | {SECTION})
        _check_workers(document)
        section = document.get(SECTION)
        section = {} if section is None else section
        if not isinstance(section, Mapping):
            raise ConfigError(f"{SECTION} is {section!r}; accepted: a section of keys")
        _refuse_unknown(f"{SECTION}.", section, {field.name for field in fields(cls)})
        values = dict(section)
        if "static_image_size_params" in values:
            values["static_image_size_params"] = StaticImageSizeParams.from_mapping(values["static_image_size_params"])
        if "accurate" in values:
            values["accurate"] = AccurateParams.from_mapping(values["accurate"])
        if "hpu" in values:
            values["hpu"] = HpuParams.from_mapping(values["hpu"])
        if _is_list(values.get("dynamic_image_hw")):
            values["dynamic_image_hw"] = tuple(values["dynamic_image_hw"])
        return cls(**values)

    @classmethod
    def from_file(cls, path: Path) -> Config:
        """The configuration in a model-config.yaml file.

        Raises:
            ConfigError: as `from_mapping`, or the file is no YAML.
        """
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
        if not isinstance(document or {}, Mapping):
            raise ConfigError(f"{path}: holds {type(document).__name__}; accepted: keys and values")
        return cls.from_mapping(document or {})


def _check_workers(document: Mapping[str, Any]) -> None:
    """TorchServe drops one of the two worker counts without the other, and starts one worker per core instead."""
    if ("minWorkers" in document) != ("maxWorkers" in document):
        raise ConfigError("minWorkers and maxWorkers must be given together: TorchServe ignores one alone")
    for key in (
        "minWorkers",
        "maxWorkers",
        "batchSize",
        "maxBatchDelay",
        "responseTimeout",
        "startupTimeout",
        "maxRetryTimeoutInSec",
    ):
        if key in document and (type(document[key]) is not int or document[key] < 1):
            raise ConfigError(f"{key} is {document[key]!r}; accepted: a whole number from 1 on")


def _section(name: str, values: object, keys: list[str]) -> Mapping[str, Any]:
    """`values` as a section that has no keys but `keys`."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{name} is {values!r}; accepted: {', '.join(keys)}")
    _refuse_unknown(f"{name}.", values, set(keys))
    return values


def _refuse_unknown(prefix: str, values: Mapping[str, Any], known: set[str] | frozenset[str]) -> None:
    unknown = sorted(str(key) for key in values if key not in known)
    if unknown:
        raise ConfigError(f"unknown key {prefix + unknown[0]!r}; accepted: {', '.join(sorted(known))}")


def _check_whole_number(name: str, value: object, lowest: int, highest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise ConfigError(f"{name} is {value!r}; accepted: a whole number from {lowest} to {highest}")


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
