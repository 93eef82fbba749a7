"""From pixels to the columns of a result: masks as PNG or COCO RLE, as the endpoint has them, or embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lseg_serve.batch.options import Options
from lseg_serve.handler.formats.outlines import coco_rle
from lseg_serve.handler.formats.png import mask_png
from lseg_serve.segmenter import EmbedJob, EmbedOptions, Job, Pixels, Segmentation, Segmenter


class Renderer:
    """Makes results of one choice of options. Several threads may use one."""

    def __init__(self, segmenter: Segmenter, options: Options) -> None:
        """Encode the labels.

        Raises:
            InvalidLabelsError: they cannot be used.
            InvalidOptionError: the template cannot be used.
        """
        self._segmenter, self._options = segmenter, options
        self._mode = options.mode or segmenter.config.mode
        self._labels = options.encoded(segmenter)

    @property
    def in_batches(self) -> bool:
        """Whether whole images go through the network together; windows of accurate mode do so by themselves."""
        return self._options.format != "embeddings" and self._mode == "fast"

    def rows(self, images: Sequence[Pixels]) -> list[Mapping[str, Any]]:
        """The columns of each image's result; the images are of one bucket.

        Raises:
            InvalidRequestError: one of them cannot be used.
        """
        if self._options.format == "embeddings":
            return [self._embedded(image) for image in images]
        jobs = [
            Job(image, self._labels, self._options.threshold, self._options.scores, False, self._mode)
            for image in images
        ]
        return [self._row(result) for result in self._segmenter.segment_batch(jobs)]

    def _row(self, result: Segmentation) -> Mapping[str, Any]:
        mask, count = result.mask, len(result.labels)
        height, width = mask.shape
        areas = np.bincount(mask.ravel(), minlength=256)
        row: dict[str, Any] = {"width": width, "height": height, "shares": (areas[:count] / mask.size).tolist()}
        row["scores"] = None if result.mean_scores is None else result.mean_scores.tolist()
        if self._options.format == "png":
            return {**row, "mask": mask_png(mask, result.labels)}
        turned = np.asfortranarray(mask)  # COCO counts down the columns
        present = np.flatnonzero(areas[:count]).tolist()
        return {**row, "rle": [{"label": one, "counts": coco_rle(turned == one)["counts"]} for one in present]}

    def _embedded(self, image: Pixels) -> Mapping[str, Any]:
        job = EmbedJob(image, self._labels, None, EmbedOptions(mode=self._mode))
        found = self._segmenter.embed_batch([job])[0].embeddings
        assert found is not None  # no points were asked for
        height, width = image.shape[:2]
        return {"width": width, "height": height, "embeddings": found.packed()}
