"""A function for `cvat-cli task auto-annotate`: the masks of a running server as CVAT's shapes.

    cvat-cli task auto-annotate 7 --function-module lseg_serve.annotation.cvat_function -p labels=str:sky,lawn,cottage

CVAT calls `create` with the parameters of the command line (`-p NAME=TYPE:VALUE`). docs/annotation-tools.md has them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import cvat_sdk.auto_annotation as aa
import numpy as np
import numpy.typing as npt
from cvat_sdk.masks import encode_mask

from lseg_serve.annotation.errors import AnnotationError
from lseg_serve.annotation.outlines import rings
from lseg_serve.annotation.vocabulary import Entry, Vocabulary, checked_words, entries_in, words_in
from lseg_serve.client import ClientError, LSegClient

if TYPE_CHECKING:
    from PIL import Image

_MODES = ("", "fast", "accurate")
_SHAPES = ("mask", "polygon")


def create(
    labels: str = "",
    url: str = "http://127.0.0.1:8080",
    model: str = "lseg",
    mode: str = "",
    threshold: float | None = None,
    background: str = "",
    shape: str = "mask",
    min_share: float = 0.001,
    tolerance: float = 1.0,
    timeout: float = 600.0,
) -> LSegFunction:
    """The function for these parameters.

    Args:
        labels: of the CVAT task, as a request has them, groups too, or a JSON object with the words of each label.
        url: of the server.
        model: its name on the server.
        mode: "fast" or "accurate"; empty: the server's.
        threshold: softmax below which a pixel gets no label, 0 to 1; None: the server's.
        background: words that are asked for beside the labels and make no shape.
        shape: "mask", or "polygon": a polygon for each piece, without holes.
        min_share: of the image that a label must have, 0 to 1.
        tolerance: pixels that a polygon may be off the mask.
        timeout: seconds for one image.

    Raises:
        BadFunctionError: one of them is not accepted.
    """
    try:
        vocabulary = Vocabulary.of(_entries(labels), words_in(background, "background"))
        _check("mode", mode, mode in _MODES, "fast or accurate")
        _check("shape", shape, shape in _SHAPES, "mask or polygon")
        for name, share in (("threshold", threshold), ("min_share", min_share)):
            _check(name, share, share is None or 0 <= share <= 1, "0 to 1")
        _check("tolerance", tolerance, 0 <= tolerance <= 1000, "pixels, 0 to 1000")
        client = LSegClient(url, model, timeout)
    except (AnnotationError, ClientError) as error:
        raise aa.BadFunctionError(str(error)) from error
    options = {"mode": mode or None, "threshold": threshold}
    return LSegFunction(client, vocabulary, options, shape, min_share, tolerance)


class LSegFunction:
    """What CVAT asks for the shapes of an image. `spec` has its labels, numbered from 0."""

    def __init__(
        self,
        client: LSegClient,
        vocabulary: Vocabulary,
        options: Mapping[str, Any],
        shape: str,
        min_share: float,
        tolerance: float,
    ) -> None:
        self._client = client
        self._vocabulary = vocabulary
        self._options = options
        self._shape = shape
        self._min_share = min_share
        self._tolerance = tolerance
        names = dict.fromkeys(entry.label for entry in vocabulary.entries if entry.label is not None)
        self._number_by_label = {name: number for number, name in enumerate(names)}
        self.spec = aa.DetectionFunctionSpec(
            labels=[aa.label_spec(name, number, type=shape) for name, number in self._number_by_label.items()]
        )

    def detect(self, context: Any, image: Image.Image) -> list[Any]:
        """The shapes of `image`: for each label that has enough pixels a mask, or its polygons, largest label first.

        A label's words make one mask together. Its score is the mean softmax over its pixels; below CVAT's
        `--conf-threshold` it is left out. Where CVAT asks for polygons in the place of masks, it gets them.

        Raises:
            BadFunctionError: the server does not answer, or refuses.
        """
        try:
            report = self._client.segment(image, self._vocabulary.request, format="json", **cast(Any, self._options))
        except ClientError as error:
            raise aa.BadFunctionError(f"no shapes for {context.frame_name}: {error}") from error
        found = [
            (region, self._number_by_label[entry.label])
            for region, entry in zip(report.labels, self._vocabulary.entries, strict=True)
            if entry.label is not None and region.area and region.share >= self._min_share
        ]
        least = context.conf_threshold or 0
        return [
            shape
            for region, number in sorted(found, key=lambda one: -one[0].area)
            if (region.mean_score or 0) >= least
            for shape in self._shapes(
                number, report.mask.indices == region.index, region.mean_score or 0.0, context.conv_mask_to_poly
            )
        ]

    def _shapes(self, number: int, pixels: npt.NDArray[np.bool_], score: float, as_polygons: bool) -> list[Any]:
        if self._shape == "mask" and not as_polygons:
            return [aa.mask(number, encode_mask(pixels), score=score)]
        return [aa.polygon(number, ring.ravel().tolist(), score=score) for ring in rings(pixels, self._tolerance)]


def _entries(text: str) -> list[Entry]:
    if not text.lstrip().startswith("{"):
        return entries_in(text, "labels")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"labels begins with '{{' but is no JSON object: {error}") from error
    return [
        Entry(label, checked_words(words if isinstance(words, list) else [words], f"the label {label!r}"))
        for label, words in document.items()
    ]


def _check(name: str, value: object, fits: bool, accepted: str) -> None:
    if not fits:
        raise AnnotationError(f"{name} is {value!r}; accepted: {accepted}")
