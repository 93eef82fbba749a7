"""The protocol v2 (Open Inference Protocol): tensors in, tensors out, in JSON or raw behind it.

Inputs are `image` and, where the label set of the model is not meant, `labels`. Options are parameters of the request.
Outputs are `mask` and `labels`; where a format is asked for, `content`, the file of each image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from lseg_serve.handler.protocols.call import MOST_IMAGES, Call
from lseg_serve.handler.protocols.tensors import Tensor, read_tensors
from lseg_serve.handler.protocols.v2_outputs import Wanted, answer, wanted_outputs
from lseg_serve.handler.requests import HEADER_PREFIX
from lseg_serve.labelsets import kind_in_json
from lseg_serve.segmenter import InvalidRequestError, RequestTooCostlyError

# Of the binary form: how many bytes of the body are JSON.
LENGTH_HEADER = "inference-header-content-length"
# Parameters of a request that are the protocol's own, and no options.
_OF_PROTOCOL = ("binary_data_output",)
_INPUTS = "accepted: image, labels"
_IMAGES = (
    "BYTES [1], [n] or [n,1], each an image file; or UINT8 [bytes], an image file; or UINT8 [h,w], [h,w,3] or "
    "[n,h,w,3], pixels"
)
_CHANNELS = {1: b"P5", 3: b"P6"}


def split(body: bytes, length: str) -> tuple[bytes, bytes]:
    """JSON and raw tensors of a body in the binary form, `length` as its header says it.

    Raises:
        InvalidRequestError: it is no number of bytes of the body.
    """
    if not (length.isascii() and length.isdigit() and len(length) < 20 and int(length) <= len(body)):
        raise InvalidRequestError(
            f"Inference-Header-Content-Length is {length[:60]!r}; accepted: how many of the {len(body)} bytes of the "
            "body are JSON"
        )
    return body[: int(length)], body[int(length) :]


def read(document: Mapping[str, object], raw: bytes, headers: Mapping[str, str]) -> Call:
    """The plain requests of `document`, whose raw tensors lie in `raw`. Members that v2 does not know are passed over.

    Raises:
        InvalidRequestError: it is no request of v2.
        RequestTooCostlyError: it has too many images.
    """
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidRequestError(f"id is {kind_in_json(request_id)}; accepted: text")
    parameters = document.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise InvalidRequestError(f"parameters is {kind_in_json(parameters)}; accepted: an object with options")
    tensors = _by_name(read_tensors(document.get("inputs"), raw))
    options = {name: value for name, value in parameters.items() if name not in _OF_PROTOCOL}
    if "labels" in tensors:
        options["labels"] = _labels(tensors["labels"])
    asked = options.get("format") or headers.get(f"{HEADER_PREFIX}format")
    images, batch = _images(tensors["image"]) if "image" in tensors else ([], False)
    if not images and not (asked == "embeddings" and "labels" in options):
        raise InvalidRequestError(f"there is no input image; accepted: a tensor image of {_IMAGES}")
    outputs = wanted_outputs(document, bool(asked))
    options = options if asked else {**options, "format": "png"}
    requests: list[dict[str, object]] = [{**options, "image": image} for image in images] or [options]
    return Call(tuple(requests), "*/*", partial(answer, Wanted(request_id, outputs, batch)))


def _by_name(tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for tensor in tensors:
        if tensor.name not in ("image", "labels"):
            raise InvalidRequestError(f"unknown input {tensor.name!r}; {_INPUTS}, and options as parameters")
        if tensor.name in found:
            raise InvalidRequestError(
                f"there are two inputs {tensor.name}; accepted: one, which may have several items"
            )
        found[tensor.name] = tensor
    return found


def _labels(tensor: Tensor) -> list[str]:
    if not isinstance(tensor.elements, list):
        raise InvalidRequestError("the datatype of the input labels is UINT8; accepted: BYTES")
    try:
        return [one if isinstance(one, str) else one.decode("utf-8") for one in tensor.elements]
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"the input labels has an item that is not UTF-8 text: {error}") from error


def _images(tensor: Tensor) -> tuple[Sequence[Any], bool]:
    """The image files of `tensor`, and whether its shape has a dimension for several."""
    shape, elements = tensor.shape, tensor.elements
    several = isinstance(elements, list) or len(shape) == 4
    if several and shape and shape[0] > MOST_IMAGES:
        raise RequestTooCostlyError(f"the input image has {shape[0]} images; accepted: up to {MOST_IMAGES}")
    if isinstance(elements, list):
        if len(shape) <= 1 or (len(shape) == 2 and shape[1] == 1):
            return elements, len(shape) == 2 or len(elements) > 1
    elif len(shape) == 1:
        return [elements.tobytes()], False
    elif len(shape) == 2 or (len(shape) in (3, 4) and shape[-1] in _CHANNELS):
        height, width, channels = (*shape, 1) if len(shape) == 2 else shape[-3:]
        header = b"%s\n%d %d\n255\n" % (_CHANNELS[channels], width, height)
        # A Netpbm file is these pixels as they are, behind a line that says so.
        size = height * width * channels
        count = shape[0] if len(shape) == 4 else 1
        return [header + elements[at * size : (at + 1) * size].tobytes() for at in range(count)], len(shape) == 4
    raise InvalidRequestError(f"the input image is {tensor.datatype} {list(shape)}; accepted: {_IMAGES}")
