"""How embeddings are asked for: of an image, of points of it, or of labels alone."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from lseg_serve.client.errors import BadAnswer, BadInput
from lseg_serve.client.images import ImageInput, encoded
from lseg_serve.client.messages import Operation, Reply
from lseg_serve.client.segmenting import Labels, Target, labels_field, predicted, text_fields
from lseg_serve.embeddings import Embeddings, EmbeddingsFileError, PointsError, unpack
from lseg_serve.embeddings.points import as_points

_FORMAT = {"format": "embeddings", "container": "npz"}


class EmbedFields(TypedDict, total=False):
    """The other fields of a request for embeddings. What is absent or None is left to the server.

    docs/embeddings.md explains them.
    """

    mode: str | None  # "fast" or "accurate"
    template: str | Sequence[str] | None  # of the labels, those that are asked for later as well
    preset: str | None  # "openscene" or "vlmaps"
    dtype: str | None  # "float16" or "float32"
    scales: Sequence[float] | None
    flip: bool | None
    base_size: int | None  # pixels
    crop_size: int | None  # pixels
    bands: Sequence[int] | str | None
    range: Sequence[float] | str | None


def embedding(
    target: Target, image: ImageInput, labels: Labels, options: Mapping[str, object]
) -> Operation[Embeddings]:
    """Ask for the map of `image`, and for the embeddings of `labels` beside it, where there are any.

    Raises:
        ClientError: one of its kinds, see `errors.py`.
    """
    fields = {**_FORMAT, **labels_field(labels), **text_fields(options)}
    content = yield from encoded(image, target.timeout, target.most_image_bytes)
    reply = yield from predicted(target, fields, content)
    try:
        return Embeddings.unpacked(reply.body)
    except EmbeddingsFileError as error:
        raise BadAnswer(f"the response holds no map of embeddings: {error}") from error


def embedding_points(
    target: Target, image: ImageInput, points: object, options: Mapping[str, object]
) -> Operation[npt.NDArray[Any]]:
    """Ask for the embeddings at `points` of `image`: float16 or float32 [N, E].

    Raises:
        ClientError: one of its kinds; BadInput where the points are no pairs of numbers.
    """
    try:
        places = as_points(points)
    except PointsError as error:
        raise BadInput(str(error)) from error
    file = io.BytesIO()
    np.save(file, places, allow_pickle=False)
    content = yield from encoded(image, target.timeout, target.most_image_bytes)
    reply = yield from predicted(target, {**_FORMAT, **text_fields(options)}, content, file.getvalue())
    return _array(reply, "embeddings", len(places))


def embedding_labels(
    target: Target, labels: Labels, template: str | Sequence[str] | None = None
) -> Operation[npt.NDArray[np.float32]]:
    """Ask for the unit embeddings of `labels` in `template`: float32 [K, E].

    Raises:
        ClientError: one of its kinds; BadInput where there are no labels.
    """
    if not labels:
        raise BadInput(f"labels is {labels!r}; accepted: a list of 1 or more texts, or text")
    reply = yield from predicted(
        target, {**_FORMAT, **labels_field(labels), **text_fields({"template": template})}, None
    )
    found = _array(reply, "label_embeddings", None if isinstance(labels, str) else len(labels))
    return np.asarray(found, dtype=np.float32)


def _array(reply: Reply, name: str, rows: int | None) -> npt.NDArray[Any]:
    """The array `name` [rows, E] of a response."""
    try:
        found = unpack(reply.body)[0].get(name)
    except EmbeddingsFileError as error:
        raise BadAnswer(f"the response holds no embeddings: {error}") from error
    if found is None or found.ndim != 2 or found.dtype.kind != "f" or rows not in (None, len(found)):
        shape = "none" if found is None else f"{found.dtype} {list(found.shape)}"
        raise BadAnswer(f"the response has no {name} of {rows or 'the'} rows, but {shape}")
    return found
