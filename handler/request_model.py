"""The fields of a request: one pydantic model gives their check, the words of their errors and their JSON Schema."""

from __future__ import annotations

import math
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

from lseg_serve.handler.encoded_images import decoded_field, decoded_text
from lseg_serve.handler.formats import FORMATS, GEOMETRIES
from lseg_serve.handler.repeated_fields import Repeated
from lseg_serve.labelsets import LabelTextError, kind_in_json, split_labels
from lseg_serve.segmenter import (
    IMAGE_FORMATS,
    MODES,
    Config,
    InvalidImageError,
    InvalidLabelsError,
    InvalidOptionError,
    Mode,
    SegmenterError,
)

_CHOICES: dict[str, tuple[str, ...]] = {"format": FORMATS, "mode": MODES, "geometry": GEOMETRIES}
# What is accepted for the other options, in words.
_ACCEPTED = {
    "threshold": "a number from 0 to 1",
    "alpha": "a number from 0 to 1",
    "bands": "one band or three, such as 4,3,2; the first is 1",
    "range": "the values that are black and white, such as 0,4095",
}
_MOST_BANDS = 65_535  # of a TIFF


def _image(value: object) -> bytes:
    """The bytes of the image file: as they came, or from base64 or a data URI."""
    if value is None:
        raise InvalidImageError(
            "there is no image; accepted: the field image, a raw body, or JSON with image as base64"
        )
    if isinstance(value, bytes | bytearray):
        return decoded_field(bytes(value))
    if not isinstance(value, str):
        raise InvalidImageError(f"image is {kind_in_json(value)}; accepted: a file, or base64 text in JSON")
    return decoded_text(value)


def _labels(value: object) -> list[object]:
    """A JSON list, or text by the rule of `split_labels`; of several fields the labels of all."""
    if isinstance(value, list):
        return value
    fields = value.values if isinstance(value, Repeated) else (value,)
    if len(fields) > 1:
        return [label for field in fields for label in (_labels(field) or [""])]
    try:
        return split_labels(_text("labels", value))
    except LabelTextError as error:
        raise InvalidLabelsError(str(error)) from error


def _stripped(value: object) -> object:
    """Text without spaces around it. What is no text is left for pydantic to refuse."""
    value = value.decode("utf-8") if isinstance(value, bytes | bytearray) else value
    return value.strip() if isinstance(value, str) else value


def _number(value: object) -> object:
    """A number, also where it was sent as text. What is none is left for pydantic to refuse."""
    value = _stripped(value)
    return float(value) if isinstance(value, str) else value


def _bands(value: object) -> tuple[int, ...]:
    """One number of a band or three: a JSON list, a number, or text split at commas."""
    numbers = _numbers(value)
    if len(numbers) not in (1, 3) or not all(number.is_integer() and 1 <= number <= _MOST_BANDS for number in numbers):
        raise ValueError
    return tuple(map(int, numbers))


def _range(value: object) -> tuple[float, float]:
    """The values of black and white: a JSON list, or text split at commas."""
    black, white = _numbers(value)
    if not black < white:
        raise ValueError
    return black, white


def _numbers(value: object) -> list[float]:
    """Numbers in a JSON list, alone, or in text split at commas. None of them is infinite."""
    value = _stripped(value)
    if isinstance(value, str):
        value = value.strip("[]").split(",")
    numbers = []
    for number in value if isinstance(value, list | tuple) else [value]:
        if isinstance(number, bool) or not isinstance(number, int | float | str):
            raise ValueError
        try:
            numbers.append(float(number))
        except OverflowError as error:
            raise ValueError from error
    if not all(map(math.isfinite, numbers)):
        raise ValueError
    return numbers


def _text(name: str, value: object) -> str:
    if isinstance(value, bytes | bytearray):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _wrong(name, f"{name} is not UTF-8 text: {error}") from error
    if isinstance(value, str):
        return value
    accepted = "a list of texts, or text" if name == "labels" else "text"
    raise _wrong(name, f"{name} is {kind_in_json(value)}; accepted: {accepted}")


def _wrong(name: str, message: str) -> SegmenterError:
    return InvalidLabelsError(message) if name == "labels" else InvalidOptionError(message, name)


def _member_of(names: tuple[str, ...]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in names:
            raise ValueError
        return value

    return AfterValidator(check)


def _enum(names: tuple[str, ...]) -> WithJsonSchema:
    return WithJsonSchema({"enum": list(names), "type": "string"})


_Format = Annotated[str, BeforeValidator(_stripped), _member_of(FORMATS), _enum(FORMATS)]
_Geometry = Annotated[str, BeforeValidator(_stripped), _member_of(GEOMETRIES), _enum(GEOMETRIES)]
_Fraction = Annotated[float, Field(ge=0, le=1), BeforeValidator(_number)]


class Request(BaseModel):
    """An image, the labels to segment it by, and options. Labels and image are decoded and checked further on."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    image: Annotated[
        bytes,
        BeforeValidator(_image),
        WithJsonSchema({"type": "string"}),
        Field(repr=False, description=f"The image file: {', '.join(IMAGE_FORMATS)}. In JSON as base64 or a data URI."),
    ]
    labels: Annotated[
        list[Any] | SkipJsonSchema[None],
        BeforeValidator(_labels),
        WithJsonSchema({"type": "array", "items": {"type": "string"}, "minItems": 1}),
        Field(
            description="Distinct texts, in any language; as text, separated by commas or line ends. Without them, the"
            " label set exported with the model."
        ),
    ] = None
    format: Annotated[_Format, Field(description="Of the response. Without it, what `Accept` names.")] = "png"
    mode: Annotated[
        Mode | SkipJsonSchema[None],
        BeforeValidator(_stripped),
        Field(description="`fast`: one pass over the image. `accurate`: lang-seg's published evaluation."),
    ] = None
    threshold: Annotated[
        _Fraction, Field(description="A pixel whose softmax is lower is left unlabelled: 255 in the mask.")
    ] = 0.0
    alpha: Annotated[_Fraction, Field(description="Strength of the colours in the formats overlay and zip.")] = 0.5
    geometry: Annotated[_Geometry, Field(description="Outline of each label in the format json.")] = "rle"
    bands: Annotated[
        tuple[int, ...] | SkipJsonSchema[None],
        BeforeValidator(_bands),
        WithJsonSchema({"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 3}),
        Field(description="Bands of the image that are red, green and blue, or one that is grey. The first is 1."),
    ] = None
    range: Annotated[
        tuple[float, float] | SkipJsonSchema[None],
        BeforeValidator(_range),
        WithJsonSchema({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}),
        Field(description="Values of the image that are black and white."),
    ] = None

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
        try:
            return handler({"image": None, **sent})
        except ValidationError as error:
            raise _refusal(fields, error) from None


def request_schema(config: Config) -> dict[str, Any]:
    """JSON Schema of a request in JSON, with the limits of `config`. A form has the same fields, all of them text."""
    schema = Request.model_json_schema()
    properties = schema["properties"]
    properties["labels"]["maxItems"] = config.max_labels
    properties["mode"]["default"] = config.mode
    for name in ("labels", "bands", "range"):
        del properties[name]["default"]  # the null of the model stands for "not sent", and cannot be sent
    return schema


def _refusal(fields: Mapping[str, object], error: ValidationError) -> SegmenterError:
    """The first of pydantic's findings. Those of image and labels have been raised before."""
    name = str(error.errors(include_url=False)[0]["loc"][0])
    value = fields[name]
    if name in _CHOICES:
        choice = _text(name, value).strip()
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
