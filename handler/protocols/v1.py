"""The protocol v1: `{"instances": [...]}` in, `{"predictions": [...]}` out, one for each instance."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence

from lseg_serve.handler.protocols.call import MOST_IMAGES, Call, check_bytes
from lseg_serve.handler.responses import Response, ServerInfo
from lseg_serve.labelsets import kind_in_json
from lseg_serve.segmenter import InvalidRequestError, RequestTooCostlyError

_JSON = "application/json"
_MEMBERS = ("instances", "parameters", "signature_name")  # the last is TensorFlow Serving's, and means nothing here
_INSTANCE = 'an image as base64 text, {"b64": text}, or an object with image, labels and options'


def read(document: Mapping[str, object]) -> Call:
    """The plain requests of `document`: an instance's own fields go over those of `parameters`.

    Raises:
        InvalidRequestError: it is no request of v1.
        RequestTooCostlyError: it has too many instances.
    """
    unknown = sorted(set(document) - set(_MEMBERS))
    if unknown:
        raise InvalidRequestError(f"unknown member {unknown[0][:60]!r}; accepted: instances, parameters")
    instances, parameters = document.get("instances"), document.get("parameters")
    if not isinstance(instances, list) or not instances:
        kind = "an empty list" if instances == [] else kind_in_json(instances)
        raise InvalidRequestError(f"instances is {kind}; accepted: a list, of which each item is {_INSTANCE}")
    if parameters is not None and not isinstance(parameters, dict):
        raise InvalidRequestError(f"parameters is {kind_in_json(parameters)}; accepted: an object with options")
    if len(instances) > MOST_IMAGES:
        raise RequestTooCostlyError(f"there are {len(instances)} instances; accepted: up to {MOST_IMAGES}")
    fields = (_fields(instance, number) for number, instance in enumerate(instances, 1))
    return Call(tuple({**(parameters or {}), **own} for own in fields), _JSON, _answer)


def _fields(instance: object, number: int) -> dict[str, object]:
    if isinstance(instance, str):
        return {"image": instance}
    if not isinstance(instance, dict):
        raise InvalidRequestError(f"instance {number} is {kind_in_json(instance)}; accepted: {_INSTANCE}")
    if set(instance) == {"b64"}:
        return {"image": instance["b64"]}
    fields = {name: value for name, value in instance.items() if value is not None}
    image = fields.get("image")
    if isinstance(image, dict) and set(image) == {"b64"}:
        fields["image"] = image["b64"]
    return fields


def _answer(responses: Sequence[Response], server: ServerInfo) -> Response:
    """A prediction is the JSON document as it is; of another format its content type, and the file as base64."""
    predictions = [_prediction(response) for response in responses]
    body = b'{"predictions": [' + b", ".join(predictions) + b"]}"
    check_bytes(len(body), server, "send fewer instances at a time")
    return Response(body, _JSON)


def _prediction(response: Response) -> bytes:
    if response.content_type == _JSON:
        return response.body
    content = base64.b64encode(response.body).decode("ascii")
    return json.dumps({"content_type": response.content_type, "b64": content}).encode()
