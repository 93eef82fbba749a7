"""The OpenAPI document of the app: each route, and each answer that it can give.

What a request for a mask may say is the endpoint's to tell (`handler/openapi.py`). The app itself knows nothing of the
endpoint's code, and serves the file that `python -m web.write_openapi` wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from lseg_serve.web.answers import ErrorAnswer, Gallery, Health, Models

Schema = dict[str, Any]

_REF: Final = "#/components/schemas/"
_NAME: Final = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
# What the app itself answers, beside the worker's errors.
_GUARD: Final = {421: ["foreign_host"], 500: ["internal_error"]}
_PASSING: Final = {
    400: ["invalid_request"],
    403: ["foreign_origin"],
    404: ["unknown_model"],
    413: ["too_large"],
    500: ["worker_died"],
    502: ["bad_answer", "server_unreachable"],
    503: ["not_ready", "overloaded"],
    504: ["timed_out"],
    507: ["out_of_memory", "worker_died"],
}
_EXAMPLES: Final = {"model": "lseg", "server": "default"}
_AGAIN: Final = (500, 503, 507)


@dataclass(frozen=True)
class EndpointParts:
    """What the endpoint says of itself."""

    form: Schema
    json: Schema
    image_types: list[str]
    content: dict[str, Schema]
    headers: dict[str, Schema]
    mask_document: Schema
    errors: dict[int, list[str]]


def document(parts: EndpointParts) -> Schema:
    """The whole document, OpenAPI 3.1."""
    _, definitions = models_json_schema(
        [(model, "serialization") for model in (ErrorAnswer, Gallery, Health, Models)], ref_template=f"{_REF}{{model}}"
    )
    own = {"MaskForm": parts.form, "MaskRequest": parts.json, "MaskDocument": parts.mask_document}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "LSeg: segmentation by words",
            "version": "1",
            "summary": "Masks of images by any labels, and what a page needs around them.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": {
            "/": {"get": _file("The page", "text/html")},
            "/{file}": {"get": _file("A file of the page", "*/*", "file")},
            "/assets/{file}": {"get": _file("A script, style or picture of the page", "*/*", "file")},
            "/healthz": {"get": _get("The app is up", Health)},
            "/openapi.json": {"get": _file("This document", "application/json")},
            "/api/models": {"get": _get("All models, with their state and description", Models)},
            "/api/gallery": {"get": _get("The pictures that the page offers", Gallery)},
            "/gallery/{file}": {"get": _file("A picture of the gallery, or its thumbnail", "image/jpeg", "file")},
            "/api/models/{model}/segment": {"post": _segment(parts, "model")},
            "/api/models/{server}/{model}/segment": {"post": _segment(parts, "server", "model")},
        },
        "components": {"schemas": {**definitions["$defs"], **own}},
    }


def _segment(parts: EndpointParts, *parameters: str) -> Schema:
    encoding = {"image": {"contentType": ", ".join(parts.image_types)}}
    errors = {**parts.errors, **_GUARD}
    for status, types in _PASSING.items():
        errors[status] = sorted({*parts.errors.get(status, []), *_GUARD.get(status, []), *types})
    where = "of the first server" if "server" not in parameters else "of any server"
    return {
        "summary": f"A mask, or embeddings, by a model {where}",
        "description": "Passed on to the endpoint as it is; docs/requests.md explains every field.",
        "operationId": "_".join(("segment", *parameters)),
        "parameters": [_parameter(name) for name in parameters],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": {"$ref": f"{_REF}MaskForm"}, "encoding": encoding},
                "application/json": {"schema": {"$ref": f"{_REF}MaskRequest"}},
            },
        },
        "responses": {
            "200": {
                "description": "The mask, or the embeddings, in the format that was asked for",
                "headers": parts.headers,
                "content": parts.content,
            },
            **_errors(errors),
        },
    }


def _get(summary: str, model: type[BaseModel]) -> Schema:
    content = {"application/json": {"schema": {"$ref": f"{_REF}{model.__name__}"}}}
    return {
        "summary": summary,
        "operationId": model.__name__.lower(),
        "responses": {"200": {"description": summary, "content": content}, **_errors(_GUARD)},
    }


def _file(summary: str, media_type: str, *parameters: str) -> Schema:
    binary = {"type": "string", "format": "binary"}
    schema = {"type": "object"} if media_type == "application/json" else binary
    responses: Schema = {
        "200": {"description": summary, "content": {media_type: {"schema": schema}}},
        "304": {"description": "The browser has it already"},
    }
    return {
        "summary": summary,
        "parameters": [_parameter(name) for name in parameters],
        "responses": {**responses, **_errors({404: ["not_found"], **_GUARD})},
    }


def _parameter(name: str) -> Schema:
    schema = {"type": "string", "pattern": _NAME}
    example = {"example": _EXAMPLES[name]} if name in _EXAMPLES else {}
    return {"name": name, "in": "path", "required": True, "schema": schema, **example}


def _errors(types_by_status: dict[int, list[str]]) -> Schema:
    answers: Schema = {}
    for status, types in sorted(types_by_status.items()):
        answers[str(status)] = {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(types)}",
            "content": {"application/json": {"schema": {"$ref": f"{_REF}ErrorAnswer"}}},
        }
        if status in _AGAIN:
            seconds = {"type": "string", "pattern": "^[0-9]+$"}
            answers[str(status)]["headers"] = {
                "Retry-After": {"description": "Seconds after which to ask again.", "schema": seconds}
            }
    return answers
