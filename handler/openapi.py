"""The endpoint's part of an OpenAPI document: its request, its answers and its errors, from what checks and makes them.

The request comes from the pydantic model that checks it, the content types from the table of formats, the errors from
their classes. `web/openapi.py` puts the routes of its app around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from lseg_serve.handler.formats import FORMAT_BY_NAME, GEOMETRIES
from lseg_serve.handler.formats.embeddings import TYPE_OF_CONTAINER
from lseg_serve.handler.request_model import request_schema
from lseg_serve.segmenter import IMAGE_FORMATS, MODES, Config, SegmenterError

Schema = dict[str, Any]

# What a form may say, as all of its fields are text. No pattern tells two labels that read as the same.
_NUMBER = r"-?[0-9]{1,9}(\.[0-9]{1,9})?"
_POSITIVE = r"[0-9]{1,3}(\.[0-9]{1,9})?"
# A sentence with one place for the word. One that begins with a bracket would be a JSON list.
_TEXT = r'[^{}"\\\x00-\x1f\x7f-\x9f]'
_BEGINNING = r'[^\[\s{}"\\\x00-\x1f\x7f-\x9f]'
_SENTENCE = rf"({_BEGINNING}{_TEXT}*)?\{{\}}{_TEXT}*"
_FORM_FIELDS: dict[str, Schema] = {
    "image": {"type": "string", "format": "binary"},
    "labels": {"type": "string", "minLength": 1, "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$"},
    "template": {
        "type": "string",
        "pattern": rf'^({_SENTENCE}|\["{_SENTENCE}"(, ?"{_SENTENCE}")*\])$',
    },
    "bands": {"type": "string", "pattern": "^[1-9][0-9]{0,3}(,[1-9][0-9]{0,3},[1-9][0-9]{0,3})?$"},
    "range": {"type": "string", "pattern": f"^{_NUMBER},{_NUMBER}$"},
    "points": {"type": "string", "pattern": rf"^\[\[{_NUMBER},{_NUMBER}\](,\[{_NUMBER},{_NUMBER}\])*\]$"},
    "scales": {"type": "string", "pattern": f"^{_POSITIVE}(,{_POSITIVE}){{0,9}}$"},
    "flip": {"type": "string", "enum": ["true", "false"]},
}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_INTEGERS: Schema = {"type": "array", "items": {"type": "integer"}}


def json_request(config: Config | None = None) -> Schema:
    """A request in JSON, for a mask or for embeddings, with the limits of `config`."""
    return request_schema(config or Config())


def form_request(config: Config | None = None) -> Schema:
    """The same request as a form."""
    schema = deepcopy(json_request(config))
    for name, form in _FORM_FIELDS.items():
        schema["properties"][name] = {"description": schema["properties"][name]["description"], **form}
    return schema


def image_types() -> list[str]:
    """The media types of images that browsers name, of those that are served."""
    known = ("png", "jpeg", "webp", "gif", "bmp", "tiff", "avif", "heic", "jxl")
    names = {name.lower() for name in IMAGE_FORMATS}
    spelt = {"heic": "heif", "jxl": "jpeg xl"}
    return [f"image/{name}" for name in known if name in names or spelt.get(name) in names]


def answer_content() -> dict[str, Schema]:
    """Schema of the body of an answer, by its content type."""
    binary: Schema = {"schema": {"type": "string", "format": "binary"}}
    types = [one.content_type for one in FORMAT_BY_NAME.values()] + list(TYPE_OF_CONTAINER.values())
    content = dict.fromkeys(types, binary)
    documents = [{"$ref": "#/components/schemas/MaskDocument"}, _segments(), _coco_document()]
    return {**content, "application/json": {"schema": {"anyOf": documents}}}


def answer_headers() -> dict[str, Schema]:
    """The headers of an answer."""
    return {
        "X-LSeg-Device": {"description": "The device that computed.", "required": True, "schema": {"type": "string"}},
        "X-LSeg-Legend": {
            "description": "Index, name and color of each label, as percent-encoded JSON. Absent where embeddings were"
            " asked for without labels.",
            "schema": {"type": "string"},
        },
        "X-LSeg-Legend-Truncated": {
            "description": "`true`, where labels did not fit.",
            "schema": {"type": "string", "enum": ["true"]},
        },
        "Server-Timing": {"description": "Milliseconds of each stage.", "schema": {"type": "string"}},
    }


def mask_document() -> Schema:
    """An answer in the format json."""
    label = _object(
        {
            "index": {"type": "integer", "minimum": 0, "maximum": 254},
            "name": {"type": "string"},
            "color": {"type": "string", "pattern": "^#[0-9a-f]{6}$"},
            "area": _COUNT,
            "share": _SHARE,
            "mean_score": {"type": ["number", "null"]},
            "box": {**_INTEGERS, "type": ["array", "null"], "minItems": 4, "maxItems": 4},
        },
        rle={
            "type": ["object", "null"],
            "properties": {"size": _INTEGERS, "counts": {"type": "string"}},
            "required": ["size", "counts"],
        },
        polygons={"type": ["array", "null"], "items": _lists_of(_lists_of(_INTEGERS))},
        label_studio={**_INTEGERS, "type": ["array", "null"]},
    )
    assert set(GEOMETRIES) <= set(label["properties"]), "a geometry is not described"
    return _object(
        {
            "width": {"type": "integer", "minimum": 1},
            "height": {"type": "integer", "minimum": 1},
            "model": _object({"name": {"type": "string"}, "version": {"type": "string"}}),
            "mode": {"type": "string", "enum": list(MODES)},
            "device": {"type": "string"},
            "labels": {"type": "array", "items": label},
            "unlabelled": _object({"area": _COUNT, "share": _SHARE}),
            "mask": {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"},
        },
        timings_ms={"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
    )


def _segments() -> Schema:
    """An answer in the format hf."""
    mask = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"}
    return {
        "type": "array",
        "items": _object({"label": {"type": "string"}, "score": {"type": ["number", "null"]}, "mask": mask}),
    }


def _coco_document() -> Schema:
    """An answer in the format coco."""
    annotation = _object(
        {
            **dict.fromkeys(("id", "image_id", "category_id", "area", "iscrowd"), _COUNT),
            "segmentation": _object({"size": _INTEGERS, "counts": {"type": "string"}}),
            "bbox": {**_INTEGERS, "minItems": 4, "maxItems": 4},
            "score": {"type": ["number", "null"]},
        }
    )
    image = _object({**dict.fromkeys(("id", "width", "height"), _COUNT), "file_name": {"type": "string"}})
    category = _object(
        {
            **dict.fromkeys(("id", "isthing"), _COUNT),
            **{key: {"type": "string"} for key in ("name", "supercategory")},
            "color": {**_INTEGERS, "minItems": 3, "maxItems": 3},
        }
    )
    items = {"images": image, "annotations": annotation, "categories": category}
    return _object({name: {"type": "array", "items": one} for name, one in items.items()})


def errors() -> dict[int, list[str]]:
    """The types of error by their status."""
    by_status: dict[int, set[str]] = {}
    for kind in _kinds(SegmenterError):
        by_status.setdefault(int(kind.status), set()).add(kind.type)
    return {status: sorted(types) for status, types in sorted(by_status.items())}


def _kinds(kind: type[SegmenterError]) -> Iterator[type[SegmenterError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from _kinds(one)


def _lists_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _object(required: dict[str, Schema], **optional: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }
