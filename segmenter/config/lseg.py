"""The worker's configuration: the `lseg` section of model-config.yaml as one frozen model, checked by pydantic.

The description of each key is its entry in docs/configuration.md (`python -m segmenter configuration`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, field_validator

from lseg_serve.labelsets import MOST_TEMPLATES, TemplateError, checked_templates
from lseg_serve.segmenter.config.document import read_document
from lseg_serve.segmenter.config.section import Accepted, Section
from lseg_serve.segmenter.config.subsections import AccurateParams, HpuParams, Side, StaticImageSizeParams
from lseg_serve.segmenter.config.torchserve import ModelConfigFile

DeviceKind = Literal["auto", "hpu", "cuda", "cpu"]
Mode = Literal["fast", "accurate"]
HpuMode = Literal["auto", "lazy", "graphs", "eager"]
DEVICES: tuple[DeviceKind, ...] = get_args(DeviceKind)
MODES: tuple[Mode, ...] = get_args(Mode)
HPU_MODES: tuple[HpuMode, ...] = get_args(HpuMode)


class Config(Section):
    """Every key of the `lseg` section, with the values that hold where the file says nothing."""

    place: ClassVar[str] = "lseg"

    device: Annotated[
        DeviceKind,
        Field(description="Where the network runs. `auto` takes the first that is there of hpu, cuda and cpu."),
    ] = "auto"
    fall_back: Annotated[
        bool,
        Field(
            description="Whether the CPU stands in for a device that cannot be had. The log, the metrics and the header"
            " `X-LSeg-Device` tell. Without it the worker stops."
        ),
    ] = False
    mode: Annotated[
        Mode,
        Field(
            description="Mode of requests that name none. `fast`: one pass over the image. `accurate`: the published"
            " evaluation, 22 to 46 passes."
        ),
    ] = "fast"
    static_image_size_params: StaticImageSizeParams = StaticImageSizeParams()
    accurate: AccurateParams = AccurateParams()
    max_labels: Annotated[
        int,
        Field(
            ge=1,
            le=255,
            description="The most labels of a request, of groups each word. The mask has 8 bits, and 255 means"
            " unlabelled.",
        ),
    ] = 255
    max_label_length: Annotated[
        int,
        Field(
            ge=1,
            le=1_000,
            description="The most characters of a label. The tokenizer's time grows with the square of a word's"
            " length.",
        ),
    ] = 200
    template: Annotated[
        tuple[str, ...],
        Field(strict=False),
        Accepted(
            'a text with one {} in the place of a word, such as "a photo of a {}", or a list of up to '
            f"{MOST_TEMPLATES}"
        ),
        Field(
            description="The sentences that words stand in for requests that name none. The embeddings of several are"
            " averaged. None, as in lang-seg: the word as it is."
        ),
    ] = ()
    max_templates: Annotated[
        int,
        Field(
            ge=1,
            le=MOST_TEMPLATES,
            description="The most sentences of a request's `template`. Each new word is encoded once for each of them.",
        ),
    ] = 8
    max_points: Annotated[
        int,
        Field(
            ge=1, le=10_000_000, description="The most points of a request for embeddings; one takes 1 kB of response."
        ),
    ] = 100_000
    max_embedding_side: Annotated[
        int,
        Field(
            ge=32,
            le=4096,
            description="The most pixels of a side that a request for embeddings may scale its image to, or give to a"
            " window.",
        ),
    ] = 2048
    max_image_pixels: Annotated[
        int,
        Field(
            ge=1,
            le=1_000_000_000,
            description="The most pixels of an image, checked before it is decoded. A side has at most 65535.",
        ),
    ] = 64_000_000
    max_request_seconds: Annotated[
        int,
        Field(
            ge=0,
            le=1_000_000,
            description="The most seconds of a request, estimated from its pixels, labels and passes by rates that are"
            " measured at warm-up. A costlier one is refused with 413. The limit is lower where `responseTimeout` /"
            " `batchSize` is. 0: none.",
        ),
    ] = 400
    max_response_bytes: Annotated[
        int,
        Field(
            ge=1_000,
            le=2_000_000_000,
            description="The most bytes of a response. A larger one is refused with 413. The limit is lower where"
            " `max_response_size` of config.properties is.",
        ),
    ] = 120_000_000
    text_cache_size: Annotated[
        int, Field(ge=1, le=10_000_000, description="The most label embeddings that are kept; one takes 2 kB.")
    ] = 10_000
    feature_cache_megabytes: Annotated[
        int,
        Field(
            ge=0,
            le=1_000_000,
            description="The most megabytes of the feature cache. It keeps the network's features of recent images, so"
            " that new labels on them skip the network; 480x640 pixels take 20. 0: none. Fast mode, CPU and CUDA.",
        ),
    ] = 128
    timings: Annotated[
        bool,
        Field(
            description="Whether responses tell the milliseconds of each stage (`Server-Timing`, `timings_ms`), and so"
            " whether an image or a label was in a cache."
        ),
    ] = True
    dynamic_image_hw: Annotated[
        tuple[Side, Side] | None,
        Field(strict=False),
        Accepted("[height, width], each a whole number from 32 to 4096"),
        Field(description="Pixels of the one image size of every device but a lazy Gaudi."),
    ] = None
    hpu_mode: Annotated[
        HpuMode,
        Field(
            description="How a Gaudi runs: `lazy`, `graphs` (lazy with HPU graphs), `eager` (torch.compile). `auto`:"
            " `lazy` with Intel's own build of torch, which lazy mode needs, else `eager`."
        ),
    ] = "auto"
    default_lazy_mode_label_number: Annotated[
        int,
        Field(
            ge=1,
            le=255,
            description="A lazy Gaudi pads labels to this number, or to it doubled and doubled again, up to"
            " `max_labels`, so that few numbers of labels are compiled.",
        ),
    ] = 20
    hpu: HpuParams = HpuParams()

    @field_validator("template", mode="before")
    @classmethod
    def _check_templates(cls, given: Any) -> tuple[str, ...]:
        """One text stands for a list of it. What is refused here is refused in the words of `Accepted`."""
        if not isinstance(given, str | list | tuple):
            raise TemplateError
        return checked_templates([given] if isinstance(given, str) else given)

    @classmethod
    def from_mapping(cls, document: Mapping[str, Any]) -> Config:
        """The configuration in a whole model-config.yaml, TorchServe's own keys checked as well.

        Raises:
            ConfigError: an unknown key, a value that is not accepted, or keys that TorchServe would ignore.
        """
        section = ModelConfigFile.model_validate(document).lseg
        return cls.model_validate({} if section is None else section)

    @classmethod
    def from_file(cls, path: Path) -> Config:
        """The configuration in a model-config.yaml file.

        Raises:
            ConfigError: as `from_mapping`, or the file is no YAML of keys and values.
        """
        return cls.from_mapping(read_document(path))
