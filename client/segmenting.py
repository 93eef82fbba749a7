"""How a segmentation is asked for: the request from image, labels and options, its tries, and the answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypedDict
from urllib.parse import quote, urlsplit

from lseg_serve.client.answers import FORMATS, Answer, read_answer
from lseg_serve.client.errors import BadInput, refusal
from lseg_serve.client.images import ImageInput, encoded
from lseg_serve.client.messages import Operation, Reply, Request, Wait, ask, form
from lseg_serve.client.retries import Retries, Tries
from lseg_serve.labelsets import Group, LabelInput, as_json

# Distinct texts, or groups of them: lists of words, or mappings of name and any. One text the server splits.
Labels: TypeAlias = Sequence[LabelInput] | str | None

_INFERENCE_PORT, _MANAGEMENT_PORT = 8080, 8081  # of TorchServe, where nobody says otherwise


class Options(TypedDict, total=False):
    """The other fields of a request. What is absent or None is left to the server. docs/requests.md explains them."""

    mode: str | None  # "fast" or "accurate"
    threshold: float | None  # 0..1
    template: str | Sequence[str] | None  # with {} in the place of a word; several are averaged
    alpha: float | None  # 0..1
    geometry: str | None  # "rle", "polygons" or "label_studio"
    tolerance: float | None  # pixels, of polygons
    parts: str | None  # "together" or "apart", in coco
    bands: Sequence[int] | str | None
    range: Sequence[float] | str | None


@dataclass(frozen=True)
class Target:
    """One model at one server, and how to ask it."""

    url: str
    model: str
    management_url: str | None
    timeout: float  # seconds for one response
    retries: Retries = field(default_factory=Retries)
    most_image_bytes: int = 100_000_000
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # sent to the server with each request

    def __post_init__(self) -> None:
        for url in (self.url, *filter(None, [self.management_url])):
            _check(url)
        if not self.timeout > 0:
            raise BadInput(f"timeout is {self.timeout}; accepted: more than 0 seconds")
        if not self.model:
            raise BadInput("the name of the model is empty")

    @property
    def predictions(self) -> str:
        """Where the model answers."""
        return f"{self.url.rstrip('/')}/predictions/{quote(self.model, safe='/')}"

    @property
    def management(self) -> str:
        """Where the model is described and scaled.

        Raises:
            BadInput: nobody said where, and the server's other port is none that has a usual neighbour.
        """
        base = self.management_url
        if base is None:
            parts = urlsplit(self.url)
            if parts.port != _INFERENCE_PORT:
                raise BadInput(
                    f"the management port of {self.url} is not known; accepted: management_url, such as "
                    "http://127.0.0.1:8081"
                )
            host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
            base = f"{parts.scheme}://{host}:{_MANAGEMENT_PORT}"
        return f"{base.rstrip('/')}/models/{quote(self.model, safe='/')}"


def segmenting(
    target: Target,
    image: ImageInput,
    labels: Labels,
    format: str,  # noqa: A002 - the request's name of it
    options: Mapping[str, object],
) -> Operation[Answer]:
    """Ask for the segmentation of `image`, again where that may help, and read the answer.

    Raises:
        ClientError: one of its kinds, see `errors.py`.
    """
    if format not in FORMATS:
        raise BadInput(f"format is {format!r}; accepted: {', '.join(FORMATS)}")
    fields = {"format": format, **labels_field(labels), **text_fields(options)}
    content = yield from encoded(image, target.timeout, target.most_image_bytes)
    reply = yield from predicted(target, fields, content)
    return read_answer(format, reply)


def predicted(
    target: Target, fields: Mapping[str, str], image: bytes | None, points: bytes | None = None
) -> Operation[Reply]:
    """The reply of success to a form of `fields` and files; asked again where that may help.

    Raises:
        ClientError: as `segmenting`.
    """
    try:
        body, content_type = form(fields, image, points)
    except UnicodeEncodeError as error:
        raise BadInput(f"a field holds text that UTF-8 cannot hold: {error}") from error
    headers = {**target.headers, "Content-Type": content_type}
    request = Request("POST", target.predictions, target.timeout, body, headers)
    tries = Tries(target.retries)
    while True:
        reply = yield from ask(request)
        if reply.ok:
            return reply
        yield Wait(tries.wait_after(refusal(reply)))


def labels_field(labels: Labels) -> dict[str, str]:
    """The field `labels`, if there is one. A list is sent as JSON, so that a label may hold a comma."""
    if labels is None:
        return {}
    if isinstance(labels, str):
        return {"labels": labels}
    try:
        return {"labels": json.dumps([as_json(one) if isinstance(one, Group) else one for one in labels])}
    except TypeError as error:
        raise BadInput(
            f"labels cannot be sent: {error}; accepted: a list of texts and lists of texts, or text"
        ) from error


def text_fields(options: Mapping[str, object]) -> dict[str, str]:
    """The fields of a form that hold `options`; those that are None are left out.

    Raises:
        BadInput: a template is no text.
    """
    given = {name: value for name, value in options.items() if value is not None}
    template = given.pop("template", None)
    fields = {name: _field(value) for name, value in given.items()}
    return fields if template is None else {**fields, "template": _template(template)}


def _template(value: object) -> str:
    """One template as it is, several as JSON, since a template may hold a comma."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(list(value))  # type: ignore[call-overload]
    except TypeError as error:
        raise BadInput(f"template cannot be sent: {error}; accepted: a text, or a list of texts") from error


def _field(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, Iterable) and not isinstance(value, str) else str(value)


def _check(url: str) -> None:
    accepted = "accepted: http://HOST:PORT or https://HOST:PORT"
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
    except ValueError as error:
        raise BadInput(f"the address {url!r} is none: {error}; {accepted}") from error
    if not known or any(character.isspace() for character in url):
        raise BadInput(f"the address is {url!r}; {accepted}")
