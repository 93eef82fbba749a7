"""The values of a request's fields, as a form, a header or JSON brings them, read before pydantic checks them."""

from __future__ import annotations

import json
import math

from lseg_serve.embeddings import PointsError, points_from_npy
from lseg_serve.embeddings.points import NPY, Points, as_points
from lseg_serve.handler.encoded_images import decoded_field, decoded_text
from lseg_serve.handler.repeated_fields import Repeated
from lseg_serve.labelsets import LabelTextError, TemplateError, kind_in_json, split_labels, split_templates
from lseg_serve.segmenter import InvalidImageError, InvalidLabelsError, InvalidOptionError, SegmenterError

_MOST_BANDS = 65_535  # of a TIFF
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


def image_file(value: object) -> bytes:
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


def labels_list(value: object) -> list[object]:
    """A JSON list, or text by the rule of `split_labels`; of several fields the labels of all."""
    if isinstance(value, list):
        return value
    fields = value.values if isinstance(value, Repeated) else (value,)
    if len(fields) > 1:
        return [label for field in fields for label in (labels_list(field) or [""])]
    try:
        return split_labels(text_of("labels", value))
    except LabelTextError as error:
        raise InvalidLabelsError(str(error)) from error


def templates(value: object) -> list[object]:
    """A JSON list, as it is or as text, or one template as text. What its items are is checked further on."""
    if isinstance(value, list):
        return value
    try:
        return split_templates(text_of("template", value))
    except TemplateError as error:
        raise InvalidOptionError(str(error), "template") from error


def stripped(value: object) -> object:
    """Text without spaces around it. What is no text is left for pydantic to refuse."""
    value = value.decode("utf-8") if isinstance(value, bytes | bytearray) else value
    return value.strip() if isinstance(value, str) else value


def number(value: object) -> object:
    """A number, also where it was sent as text. What is none is left for pydantic to refuse."""
    value = stripped(value)
    return float(value) if isinstance(value, str) else value


def bands(value: object) -> tuple[int, ...]:
    """One number of a band or three: a JSON list, a number, or text split at commas."""
    numbers = _numbers(value)
    if len(numbers) not in (1, 3) or not all(number.is_integer() and 1 <= number <= _MOST_BANDS for number in numbers):
        raise ValueError
    return tuple(map(int, numbers))


def value_range(value: object) -> tuple[float, float]:
    """The values of black and white: a JSON list, or text split at commas."""
    black, white = _numbers(value)
    if not black < white:
        raise ValueError
    return black, white


def _numbers(value: object) -> list[float]:
    """Numbers in a JSON list, alone, or in text split at commas. None of them is infinite."""
    value = stripped(value)
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


def points(value: object) -> Points:
    """A JSON list of pairs, as it is or as text, or a file of NumPy's format."""
    try:
        if isinstance(value, bytes | bytearray) and value.startswith(NPY):
            return points_from_npy(bytes(value))
        if isinstance(value, bytes | bytearray | str):
            value = json.loads(text_of("points", value))
        return as_points(value)
    except PointsError as error:
        raise InvalidOptionError(str(error), "points") from error
    except (ValueError, RecursionError) as error:
        raise InvalidOptionError(
            f"points is no JSON: {str(error)[:100]}; accepted: a list of [x, y], or a file of NumPy's format (.npy)",
            "points",
        ) from error


def scales(value: object) -> tuple[float, ...]:
    """Numbers in a JSON list, alone, or in text split at commas."""
    return tuple(_numbers(value))


def flag(value: object) -> object:
    """A truth value, also where it was sent as text. What is none is left for pydantic to refuse."""
    value = stripped(value)
    return _FLAGS[value.lower()] if isinstance(value, str) and value.lower() in _FLAGS else value


def whole_number(value: object) -> object:
    """A whole number, also where it was sent as text. What is none is left for pydantic to refuse."""
    value = number(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def text_of(name: str, value: object) -> str:
    """The text of the field `name`, from text or its bytes in UTF-8.

    Raises:
        InvalidRequestError: it is none.
    """
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
