"""The embeddings of one image: asked for points, for a map of any size, or for the labels of its pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from lseg_serve.embeddings.doubling import doubled, inverse_lengths, resized
from lseg_serve.embeddings.files import Container, EmbeddingsFileError, pack, unpack
from lseg_serve.embeddings.points import checked_points
from lseg_serve.embeddings.sampling import (
    Blend,
    Floats,
    Places,
    Taps,
    blended,
    centre_places,
    corner_places,
    doubled_blend,
    half_size_taps,
    neighbours,
    plain_blend,
)

# What the vectors are, and where the image's pixels lie among them:
#   head     before the last doubling: to be doubled and brought to unit length; the input has four times their size
#   corners  as they are, the corner pixels of image and map aligned
#   pixels   as they are, one for each pixel of the image
Kind = Literal["head", "corners", "pixels"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Encode = Callable[[Sequence[str]], Floats]  # texts -> unit embeddings float32 [K, E]

LOGIT_SCALE = 1 / 0.07  # from the cosine of a pixel and a label to their score
_FORMAT = 1  # of the files
_STRIP_ELEMENTS = 8_000_000
_MOST_LABELS = 255


@dataclass(frozen=True, eq=False)
class Embeddings:
    """The embeddings of an image of `height` x `width` pixels. Places are [x, y]; 0 is the centre of the first pixel.

    Texts are encoded by `encode`, which reaches the model or the server. Without it, texts that came with the
    embeddings can be asked, and any others as embeddings.
    """

    vectors: npt.NDArray[Any]  # float16 or float32 [E, h, w]
    height: int
    width: int
    kind: Kind = "head"
    unit: bool = True  # whether `at` and `map` bring vectors to unit length; the presets leave them as they are
    scale: float = LOGIT_SCALE  # from the product of a pixel and a label to their score
    labels: tuple[str, ...] = ()
    label_embeddings: Floats | None = None  # [K, E], of `labels`
    about: dict[str, Any] = field(default_factory=dict)  # what else the file says: mode, preset, model
    encode: Encode | None = field(default=None, repr=False)

    @property
    def size(self) -> int:
        """E, the elements of each embedding."""
        return int(self.vectors.shape[0])

    def at(self, points: object) -> Floats:
        """The embeddings at `points` [N, 2] of x and y, an array or a list, fractions allowed: float32 [N, E].

        They are of unit length, but for those of the presets.

        Raises:
            PointsError: no points of this image.
        """
        found = checked_points(points, self.height, self.width)
        return self._at(found[:, 1], found[:, 0])

    def map(self, height: int | None = None, width: int | None = None) -> Floats:
        """The embeddings of the whole image at `height` x `width` pixels: float32 [E, height, width].

        Without a size it has the image's own: 629 MB for 480x640 pixels. Vectors are those that `at` gives.

        Raises:
            ValueError: a side that is no number above 0.
        """
        height, width = self.height if height is None else height, self.width if width is None else width
        if min(height, width) < 1:
            raise ValueError(f"the size is {height}x{width}; accepted: 1x1 and more")
        rows = (np.arange(height, dtype=np.float64) + 0.5) * (self.height / height) - 0.5
        columns = (np.arange(width, dtype=np.float64) + 0.5) * (self.width / width) - 0.5
        found = np.empty((self.size, height, width), dtype=np.float32)
        for row, place in enumerate(rows):
            found[:, row] = self._at(np.full(width, place, dtype=np.float64), columns).T
        return found

    def scores(self, labels: Sequence[str] | Floats) -> Floats:
        """The scores of `labels`, texts or embeddings [K, E], at the network's own resolution: float32 [K, h, w].

        They are what the endpoint's format npz gives, for models without lang-seg's regularisation block.

        Raises:
            ValueError: texts that nothing here can encode, or embeddings of another size.
        """
        text = self.texts(labels)
        products = (text @ self._rows.T).reshape(len(text), *self.vectors.shape[1:])
        if self.kind == "head":
            products = doubled(products) * self._inverse_lengths
        return np.asarray(products * np.float32(self.scale), dtype=np.float32)

    def similarity(self, label: str | Floats) -> Floats:
        """How well `label`, a text or its embedding [E], fits each pixel: its cosine, float32 [height, width].

        Raises:
            ValueError: as `scores`.
        """
        scores = self.scores([label] if isinstance(label, str) else np.asarray(label)[None])
        strips = [strip[0] for _, strip in self._strips(scores)]
        return np.asarray(np.concatenate(strips) / np.float32(LOGIT_SCALE), dtype=np.float32)

    def segment(self, labels: Sequence[str] | Floats) -> npt.NDArray[np.uint8]:
        """The mask of `labels`, up to 255 texts or embeddings [K, E]: uint8 [height, width], the index of each label.

        It is the endpoint's mask in fast mode, but for ties, and for models without the regularisation block.

        Raises:
            ValueError: as `scores`, or too many labels.
        """
        if len(labels) > _MOST_LABELS:
            raise ValueError(f"{len(labels)} labels were given; accepted: up to {_MOST_LABELS}")
        scores = self.scores(labels)
        mask = np.empty((self.height, self.width), dtype=np.uint8)
        for top, strip in self._strips(scores):
            mask[top : top + strip.shape[1]] = strip.argmax(axis=0)
        return mask

    def texts(self, labels: Sequence[str] | Floats) -> Floats:
        """The embeddings [K, E] of `labels`: their own, those that came with the image's, or what `encode` gives."""
        if isinstance(labels, np.ndarray):
            if labels.ndim != 2 or labels.shape[1] != self.size or not len(labels):
                raise ValueError(
                    f"the labels' embeddings have the shape {list(labels.shape)}; accepted: [K, {self.size}]"
                )
            return labels.astype(np.float32)
        if isinstance(labels, str) or not labels:
            raise ValueError(f"labels is {labels!r}; accepted: a list of 1 or more texts, or embeddings")
        known = {} if self.label_embeddings is None else dict(zip(self.labels, self.label_embeddings, strict=True))
        new = [label for label in labels if label not in known]
        if new and self.encode is None:
            raise ValueError(
                f"the embedding of {new[0]!r} is not at hand; accepted: with `encode`, or embeddings [K, E]"
            )
        if new and self.encode is not None:
            known |= dict(zip(new, np.asarray(self.encode(new), dtype=np.float32), strict=True))
        return np.stack([known[label] for label in labels])

    def save(self, path: str | Path) -> None:
        """Write a file: safetensors where `path` ends so, else npz without pickles. `encode` is not in it."""
        path = Path(path)
        container: Container = "safetensors" if path.suffix == ".safetensors" else "npz"
        path.write_bytes(self.packed(container))

    def packed(self, container: Container = "npz") -> bytes:
        """The bytes of such a file."""
        arrays: dict[str, npt.NDArray[Any]] = {"embeddings": self.vectors}
        if self.label_embeddings is not None:
            arrays["label_embeddings"] = self.label_embeddings
        about = {
            **self.about,
            "format": _FORMAT,
            "kind": self.kind,
            "unit": self.unit,
            "scale": self.scale,
            "image_size": [self.height, self.width],
            "labels": list(self.labels),
        }
        return pack(arrays, about, container)

    @classmethod
    def load(cls, path: str | Path, encode: Encode | None = None) -> Embeddings:
        """The embeddings in a file that `save` wrote, or in a response of the endpoint.

        Raises:
            EmbeddingsFileError: it holds no map of embeddings, or a damaged one.
            OSError: it cannot be read.
        """
        return cls.unpacked(Path(path).read_bytes(), encode)

    @classmethod
    def unpacked(cls, content: bytes, encode: Encode | None = None) -> Embeddings:
        """As `load`, from the file's bytes."""
        arrays, about = unpack(content)
        vectors, own = arrays.get("embeddings"), dict(about)
        if vectors is None or vectors.ndim != 3 or vectors.dtype not in (np.float16, np.float32) or not vectors.size:
            raise EmbeddingsFileError("the file holds no map of embeddings; accepted: float16 or float32 [E, h, w]")
        try:
            version, kind, unit, scale = (own.pop(key) for key in ("format", "kind", "unit", "scale"))
            (height, width), labels = map(int, own.pop("image_size")), tuple(map(str, own.pop("labels")))
            scale = float(scale)
        except (KeyError, TypeError, ValueError) as error:
            raise EmbeddingsFileError(f"the file does not say what its embeddings are: {error!r}") from error
        text = arrays.get("label_embeddings")
        fits = text is None or text.shape == (len(labels), vectors.shape[0])
        if version != _FORMAT or kind not in KINDS or min(height, width) < 1 or not fits:
            raise EmbeddingsFileError(f"the file says of itself what this version does not know: {str(about)[:200]}")
        return cls(vectors, height, width, kind, bool(unit), scale, labels, text, own, encode)

    def with_encode(self, encode: Encode | None) -> Embeddings:
        """The same embeddings, with another way to encode texts."""
        return replace(self, encode=encode)

    @cached_property
    def _rows(self) -> Floats:
        """The vectors in a row: float32 [h * w, E]."""
        return np.ascontiguousarray(self.vectors.reshape(self.size, -1).T.astype(np.float32))

    @cached_property
    def _inverse_lengths(self) -> Floats:
        return inverse_lengths(self.vectors.astype(np.float32))

    def _at(self, rows: Places, columns: Places) -> Floats:
        vectors = blended(self._rows, self._blend(rows, columns))
        return unit_length(vectors) if self.unit else vectors

    def _blend(self, rows: Places, columns: Places) -> Blend:
        down, across = self.taps(rows, 0), self.taps(columns, 1)
        if self.kind == "head":
            return doubled_blend(down, across, self._inverse_lengths)
        return plain_blend(down, across, self.vectors.shape[2])

    def taps(self, places: Places, axis: int) -> Taps:
        """The pixels of the network's own resolution under `places` of the image, along one axis."""
        target, own = (self.height, self.width)[axis], int(self.vectors.shape[1 + axis])
        if self.kind == "head":
            return half_size_taps(neighbours(centre_places(places, 4 * own, target), 4 * own), 4 * own)
        places = np.clip(places, 0, target - 1)
        return neighbours(corner_places(places, own, target) if self.kind == "corners" else places, own)

    def _strips(self, scores: Floats) -> Iterator[tuple[int, Floats]]:
        """`scores` at the image's size, as pairs (first row, strip [K, rows, width])."""
        columns = self.taps(np.arange(self.width, dtype=np.float64), 1)
        size = max(1, _STRIP_ELEMENTS // (len(scores) * max(self.width, scores.shape[2])))
        for top in range(0, self.height, size):
            rows = np.arange(top, min(top + size, self.height), dtype=np.float64)
            yield top, resized(scores, self.taps(rows, 0), columns)


def unit_length(vectors: Floats) -> Floats:
    """`vectors` [N, E], each divided by its length; one of length 0 stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)
