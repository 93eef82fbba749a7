"""The format embeddings: the vectors of a map, of points or of labels, for programs that go on computing with them."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from lseg_serve.embeddings import pack
from lseg_serve.embeddings.files import Container
from lseg_serve.segmenter import Embedding

EMBEDDINGS = "embeddings"  # the value of the request's field `format`
# The files that a response may be, and their content types.
TYPE_OF_CONTAINER: dict[Container, str] = {"npz": "application/x-npz", "safetensors": "application/x-safetensors"}


def encode_embeddings(result: Embedding, container: Container) -> bytes:
    """Arrays that load without pickle, and the JSON text `about`, which says what they are.

    `embeddings` are the map [E, h, w], or [N, E] at the `points` [N, 2] that were asked for; `label_embeddings` [K, E]
    are of the labels in `about`. What was not asked for is absent.
    """
    if result.embeddings is not None:
        return result.embeddings.packed(container)
    arrays: dict[str, npt.NDArray[Any]] = {}
    about: dict[str, object] = {"mode": result.mode, "labels": []}
    if result.vectors is not None and result.points is not None:
        arrays |= {"embeddings": result.vectors, "points": result.points}
        about["image_size"] = list(result.image_size or ())
    if result.labels is not None:
        arrays["label_embeddings"] = result.labels.embeddings.numpy()
        about["labels"] = list(result.labels.labels)
    return pack(arrays, about, container)
