"""The fields of a request: one pydantic model gives their check, the words of their errors and their JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from lseg_serve.embeddings.files import Container
from lseg_serve.handler import field_values as values
from lseg_serve.handler.formats import CONTAINERS, FORMATS, GEOMETRIES, PARTS
from lseg_serve.handler.formats.coco_document import TOGETHER
from lseg_serve.handler.formats.embeddings import EMBEDDINGS
from lseg_serve.handler.formats.polygons import MOST_TOLERANCE, TOLERANCE
from lseg_serve.handler.repeated_fields import Repeated
from lseg_serve.labelsets import kind_in_json
from lseg_serve.segmenter import (
    DTYPES,
    IMAGE_FORMATS,
    MODES,
    PRESETS,
    Config,
    EmbedOptions,
    InvalidImageError,
    InvalidOptionError,
    Mode,
    SegmenterError,
)

_CHOICES: dict[str, tuple[str, ...]] = {
    "format": FORMATS,
    "mode": MODES,
    "geometry": GEOMETRIES,
    "parts": PARTS,
    "container": CONTAINERS,
    "dtype": DTYPES,
    "preset": PRESETS,
}
# The options of the format embeddings; no other takes them.
OF_EMBEDDINGS = ("points", "dtype", "preset", "scales", "flip", "base_size", "crop_size")
# What is accepted for the other options, in words.
_ACCEPTED = {
    "threshold": "a number from 0 to 1",
    "alpha": "a number from 0 to 1",
    "tolerance": f"pixels, 0 to {MOST_TOLERANCE:g}",
    "bands": "one band or three, such as 4,3,2; the first is 1",
    "range": "the values that are black and white, such as 0,4095",
    "scales": "numbers above 0, such as 0.75,1",
    "flip": "true or false",
    "base_size": "a whole number of pixels",
    "crop_size": "a whole number of pixels",
}


def _member_of(names: tuple[str, ...]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in names:
            raise ValueError
        return value

    return AfterValidator(check)


def _enum(names: tuple[str, ...]) -> WithJsonSchema:
    return WithJsonSchema({"enum": list(names), "type": "string"})


_Format = Annotated[str, BeforeValidator(values.stripped), _member_of(FORMATS), _enum(FORMATS)]
_Geometry = Annotated[str, BeforeValidator(values.stripped), _member_of(GEOMETRIES), _enum(GEOMETRIES)]
_Container = Annotated[Container, BeforeValidator(values.stripped)]
_Pixels = Annotated[
    int | SkipJsonSchema[None], BeforeValidator(values.whole_number), WithJsonSchema({"type": "integer"})
]
_Fraction = Annotated[float, Field(ge=0, le=1), BeforeValidator(values.number)]


_WORDS_SCHEMA = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_GROUP_SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "any": _WORDS_SCHEMA},
    "required": ["name", "any"],
    "additionalProperties": False,
}
_LABEL_SCHEMA = {"anyOf": [{"type": "string"}, _WORDS_SCHEMA, _GROUP_SCHEMA]}
_TEMPLATE_SCHEMA = {"type": "string", "pattern": r"^[^{}\x00-\x1f\x7f-\x9f]*\{\}[^{}\x00-\x1f\x7f-\x9f]*$"}


class Request(BaseModel):
    """An image, the labels to segment it by, and options. Labels and image are decoded and checked further on."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    image: Annotated[
        bytes,
        BeforeValidator(values.image_file),
        WithJsonSchema({"type": "string"}),
        Field(repr=False, description=f"The image file: {', '.join(IMAGE_FORMATS)}. In JSON as base64 or a data URI."),
    ] = b""
    labels: Annotated[
        list[Any] | SkipJsonSchema[None],
        BeforeValidator(values.labels_list),
        WithJsonSchema({"type": "array", "items": _LABEL_SCHEMA, "minItems": 1}),
        Field(
            description="Distinct texts, in any language; as text, separated by commas or line ends. A label may be a"
            " group of words: a list whose first is its name, or an object; as text, words with bars between them."
            " Without labels, the label set exported with the model."
        ),
    ] = None
    template: Annotated[
        list[Any] | SkipJsonSchema[None],
        BeforeValidator(values.templates),
        WithJsonSchema(
            {"anyOf": [_TEMPLATE_SCHEMA, {"type": "array", "items": _TEMPLATE_SCHEMA, "uniqueItems": True}]}
        ),
        Field(
            description="The sentence that each word stands in, at the place of `{}`, such as `a photo of a {}`. The"
            " embeddings of several are averaged. `{}`: the word as it is."
        ),
    ] = None
    format: Annotated[_Format, Field(description="Of the response. Without it, what `Accept` names.")] = "png"
    mode: Annotated[
        Mode | SkipJsonSchema[None],
        BeforeValidator(values.stripped),
        Field(description="`fast`: one pass over the image. `accurate`: lang-seg's published evaluation."),
    ] = None
    threshold: Annotated[
        _Fraction, Field(description="A pixel whose softmax is lower is left unlabelled: 255 in the mask.")
    ] = 0.0
    alpha: Annotated[_Fraction, Field(description="Strength of the colours in the formats overlay and zip.")] = 0.5
    geometry: Annotated[_Geometry, Field(description="Outline of each label in the format json.")] = "rle"
    tolerance: Annotated[
        float,
        Field(ge=0, le=MOST_TOLERANCE, description="Pixels by which polygons may leave the edges of the pixels."),
        BeforeValidator(values.number),
    ] = TOLERANCE
    parts: Annotated[
        str,
        BeforeValidator(values.stripped),
        _member_of(PARTS),
        _enum(PARTS),
        Field(description="Whether detached parts of a label are one object or several, in the format coco."),
    ] = TOGETHER
    bands: Annotated[
        tuple[int, ...] | SkipJsonSchema[None],
        BeforeValidator(values.bands),
        WithJsonSchema({"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 3}),
        Field(description="Bands of the image that are red, green and blue, or one that is grey. The first is 1."),
    ] = None
    range: Annotated[
        tuple[float, float] | SkipJsonSchema[None],
        BeforeValidator(values.value_range),
        WithJsonSchema({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}),
        Field(description="Values of the image that are black and white."),
    ] = None

    container: Annotated[
        _Container, Field(description="The file of the format embeddings. Without it, what `Accept` names.")
    ] = "npz"
    points: Annotated[
        Any,
        BeforeValidator(values.points),
        WithJsonSchema(
            {
                "type": "array",
                "items": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
                "minItems": 1,
            }
        ),
        Field(
            repr=False,
            description="Places [x, y] in pixels of the upright image, whose embeddings are wanted. In a form as JSON"
            " or as a file of NumPy's format. Without them, the map of the whole image.",
        ),
    ] = None
    dtype: Annotated[
        str,
        BeforeValidator(values.stripped),
        _member_of(DTYPES),
        _enum(DTYPES),
        Field(description="Type of the numbers of embeddings."),
    ] = "float16"
    preset: Annotated[
        str | SkipJsonSchema[None],
        BeforeValidator(values.stripped),
        _member_of(PRESETS),
        _enum(PRESETS),
        Field(description="Embeddings as one of these projects computes them, in the place of a mode."),
    ] = None
    scales: Annotated[
        tuple[float, ...] | SkipJsonSchema[None],
        BeforeValidator(values.scales),
        WithJsonSchema({"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}, "minItems": 1}),
        Field(description="Scales of embeddings in accurate mode, in the place of the configured ones."),
    ] = None
    flip: Annotated[
        bool | SkipJsonSchema[None],
        BeforeValidator(values.flag),
        WithJsonSchema({"type": "boolean"}),
        Field(description="Whether the mirror image counts for embeddings in accurate mode."),
    ] = None
    base_size: Annotated[
        _Pixels, Field(description="Pixels of the image's long side at scale 1, for embeddings in accurate mode.")
    ] = None
    crop_size: Annotated[_Pixels, Field(description="Pixels of a window's side, for embeddings in accurate mode.")] = (
        None
    )

    @property
    def has_image(self) -> bool:
        """Whether an image was sent. Only embeddings of labels need none."""
        return "image" in self.model_fields_set

    @property
    def embed_options(self) -> EmbedOptions:
        """How embeddings are computed."""
        return EmbedOptions(self.mode, self.preset, self.scales, self.flip, self.base_size, self.crop_size, self.dtype)

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_in_words(cls, fields: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        """Pydantic checks. What it finds is raised as an error with a response, which pydantic lets pass as it is."""
        if not isinstance(fields, Mapping):
            return handler(fields)
        unknown = sorted(set(fields) - set(cls.model_fields))
        if unknown:
            name = unknown[0][:60]
            raise InvalidOptionError(f"unknown field {name!r}; accepted: {', '.join(cls.model_fields)}", name)
        _refuse_repeated(fields)
        sent = {name: value for name, value in fields.items() if value is not None}  # null is the same as absent
        given = {} if labels_alone(sent) else {"image": None}
        try:
            request = handler({**given, **sent})
        except ValidationError as error:
            raise _refusal(fields, error) from None
        _refuse_options_of_embeddings(sent, request)
        return request


def asks_for_embeddings(fields: Mapping[str, object]) -> bool:
    """Whether the field `format` of an unchecked request is embeddings."""
    try:
        return values.stripped(fields.get("format")) == EMBEDDINGS
    except UnicodeDecodeError:
        return False


def labels_alone(sent: Mapping[str, object]) -> bool:
    """Whether embeddings of labels are asked for, which needs no image."""
    return asks_for_embeddings(sent) and "labels" in sent and "image" not in sent


def _refuse_options_of_embeddings(sent: Mapping[str, object], request: Request) -> None:
    """Refuse options of the format embeddings where another one is asked for, which would not heed them."""
    name = next((name for name in OF_EMBEDDINGS if name in sent), None)
    if name is not None and request.format != EMBEDDINGS:
        raise InvalidOptionError(
            f"{name} is given with the format {request.format}; accepted: with the format {EMBEDDINGS}", name
        )


def request_schema(config: Config) -> dict[str, Any]:
    """JSON Schema of a request in JSON, with the limits of `config`. A form has the same fields, all of them text."""
    schema = Request.model_json_schema()
    properties = schema["properties"]
    properties["labels"]["maxItems"] = config.max_labels
    several = next(one for one in properties["template"]["anyOf"] if one["type"] == "array")
    several["maxItems"] = config.max_templates
    properties["mode"]["default"] = config.mode
    if config.template:
        properties["template"]["default"] = list(config.template)
    properties["points"]["maxItems"] = config.max_points
    for side in ("base_size", "crop_size"):
        properties[side] |= {"minimum": 32, "maximum": config.max_embedding_side}
    properties["crop_size"]["multipleOf"] = 32
    for field in properties.values():
        if field.get("default", "") in (None, ""):
            field.pop("default", None)  # the null or empty value of the model stands for "not sent"
    of_labels = {"required": ["labels", "format"], "properties": {"format": {"const": EMBEDDINGS}}}
    return {**schema, "anyOf": [{"required": ["image"]}, of_labels]}


def _refusal(fields: Mapping[str, object], error: ValidationError) -> SegmenterError:
    """The first of pydantic's findings. Those of image and labels have been raised before."""
    name = str(error.errors(include_url=False)[0]["loc"][0])
    value = fields[name]
    if name in _CHOICES:
        choice = values.text_of(name, value).strip()
        return InvalidOptionError(f"{name} is {choice[:60]!r}; accepted: {', '.join(_CHOICES[name])}", name)
    text = bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else value
    shown = repr(text[:60]) if isinstance(text, str) else kind_in_json(text)
    return InvalidOptionError(f"{name} is {shown}; accepted: {_ACCEPTED[name]}", name)


def _refuse_repeated(fields: Mapping[str, object]) -> None:
    """Refuse a field that was sent more than once, where only one value can count."""
    for name, value in fields.items():
        if not isinstance(value, Repeated) or name == "labels":
            continue
        if name == "image":
            raise InvalidImageError(f"there are {len(value.values)} images in the field image; accepted: one")
        raise InvalidOptionError(f"{name} is given {len(value.values)} times; accepted: once", name)
