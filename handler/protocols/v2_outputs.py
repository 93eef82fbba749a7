"""What a request of the protocol v2 wants back, and the response that it gets."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from lseg_serve.handler.formats.png import LEGEND_KEY
from lseg_serve.handler.protocols.call import check_bytes
from lseg_serve.handler.protocols.tensors import written
from lseg_serve.handler.responses import Response, ServerInfo
from lseg_serve.labelsets import kind_in_json
from lseg_serve.segmenter import InvalidRequestError, Pixels

_JSON = "application/json"
_OF_MASK, _OF_FILE = ("mask", "labels"), ("content",)
_SMALLER = "ask for binary output, or send fewer images at a time"


@dataclass(frozen=True)
class Wanted:
    """How a request wants its response."""

    request_id: str | None
    outputs: Mapping[str, bool]  # by name, whether it is raw
    batch: bool  # whether outputs have a dimension for several images


def wanted_outputs(document: Mapping[str, object], as_file: bool) -> dict[str, bool]:
    """The outputs that `document` asks for, and whether each is raw; without a list of them all that there are.

    Args:
        document: the request.
        as_file: whether a format is asked for, in the place of a mask.

    Raises:
        InvalidRequestError: it asks for what there is not.
    """
    known = _OF_FILE if as_file else _OF_MASK
    parameters = document.get("parameters")
    binary = _flag("binary_data_output", parameters if isinstance(parameters, dict) else {}, False)
    entries = document.get("outputs")
    if entries is None or entries == []:
        return dict.fromkeys(known, binary)
    if not isinstance(entries, list):
        raise InvalidRequestError(f"outputs is {kind_in_json(entries)}; accepted: a list of {', '.join(known)}")
    wanted = {}
    for entry in entries:
        name = entry.get("name") if isinstance(entry, dict) else entry
        if not isinstance(entry, dict) or name not in known:
            shown = repr(name[:60]) if isinstance(name, str) else kind_in_json(name)
            raise InvalidRequestError(f"an output is {shown}; accepted: {', '.join(known)}")
        own = entry.get("parameters") or {}
        if not isinstance(own, dict) or set(own) - {"binary_data"}:
            raise InvalidRequestError(f"the parameters of the output {name} are {str(own)[:60]}; accepted: binary_data")
        wanted[str(name)] = _flag("binary_data", own, binary)
    return wanted


def _flag(name: str, parameters: Mapping[str, object], default: bool) -> bool:
    value = parameters.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidRequestError(f"{name} is {str(value)[:60]!r}; accepted: true or false")
    return value


def answer(wanted: Wanted, responses: Sequence[Response], server: ServerInfo) -> Response:
    """The response of v2 to plain ones: to masks as PNG, or to files.

    Raises:
        InvalidRequestError: masks of different sizes would have to be one tensor.
        ResponseTooLargeError: TorchServe would not pass it on.
    """
    as_file = not set(wanted.outputs) & set(_OF_MASK)
    outputs = _of_files(wanted, responses) if as_file else _of_masks(wanted, responses, server)
    document: dict[str, Any] = {"model_name": server.model_name, "model_version": server.model_version}
    if wanted.request_id is not None:
        document["id"] = wanted.request_id
    text = json.dumps(document).encode()[:-1] + b', "outputs": [' + b", ".join(entry for entry, _ in outputs) + b"]}"
    body = b"".join((text, *(raw for _, raw in outputs)))
    check_bytes(len(body), server, _SMALLER)
    if not any(wanted.outputs.values()):
        return Response(body, _JSON)
    headers = {"Inference-Header-Content-Length": str(len(text))}
    return Response(body, "application/octet-stream", headers=headers)


def _of_masks(wanted: Wanted, responses: Sequence[Response], server: ServerInfo) -> list[tuple[bytes, bytes]]:
    read = [_read_mask(response.body) for response in responses]
    sizes = list(dict.fromkeys(mask.shape for mask, _ in read))
    if len(sizes) > 1 and "mask" in wanted.outputs:
        shown = ", ".join(f"{width}x{height}" for height, width in sizes[:5])
        raise InvalidRequestError(
            f"the images have different sizes ({shown}), and their masks cannot be one tensor; send each alone, "
            "or ask for the format png"
        )
    outputs = []
    for name, binary in wanted.outputs.items():
        if name == "mask":
            masks = np.stack([mask for mask, _ in read])
            if not binary:
                check_bytes(2 * masks.size, server, _SMALLER)  # a digit and a comma are the least that a pixel takes
            shape = masks.shape if wanted.batch else masks.shape[1:]
            outputs.append(written(name, shape, masks, binary))
        else:
            labels = read[0][1]
            outputs.append(written(name, [len(labels)], [one.encode() for one in labels], binary, labels))
    return outputs


def _read_mask(png: bytes) -> tuple[Pixels, list[str]]:
    """A mask [H, W] and its labels, from the PNG of the plain response."""
    with Image.open(io.BytesIO(png)) as image:
        mask = np.asarray(image)
        legend = json.loads(image.text[LEGEND_KEY])
    return mask, [entry["name"] for entry in legend]


def _of_files(wanted: Wanted, responses: Sequence[Response]) -> list[tuple[bytes, bytes]]:
    bodies = [response.body for response in responses]
    texts = [
        response.body.decode() if response.content_type == _JSON else base64.b64encode(response.body).decode("ascii")
        for response in responses
    ]
    kind = {"content_type": responses[0].content_type}
    return [written("content", [len(bodies)], bodies, wanted.outputs["content"], texts, kind)]
