"""A mask as runs of one label down its columns, as COCO counts pixels: found once, for the regions of all labels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from lseg_serve.segmenter import Pixels

Places = npt.NDArray[np.uint32]
_BAND = 1 << 22  # pixels that are compared at once: what that takes in memory does not grow with the mask


@dataclass(frozen=True)
class Runs:
    """All runs of a mask. A run goes on from the foot of a column to the head of the next."""

    height: int
    width: int
    starts: Places  # [N]: the pixel that each run starts at, counted down the columns
    labels: npt.NDArray[np.uint8]  # [N]: the index of its label

    @classmethod
    def of(cls, mask: Pixels) -> Runs:
        """The runs of `mask` uint8 [H, W]."""
        height, width = mask.shape
        columns = max(1, _BAND // height)
        starts, labels, last = [], [], None
        for left in range(0, width, columns):
            flat = cv2.transpose(np.ascontiguousarray(mask[:, left : left + columns])).ravel()
            found = np.flatnonzero(flat[1:] != flat[:-1]) + 1
            if last is None or flat[0] != last:
                found = np.concatenate([[0], found])
            starts.append((found + left * height).astype(np.uint32))
            labels.append(flat[found])
            last = flat[-1]
        return cls(height, width, np.concatenate(starts), np.concatenate(labels))

    def of_label(self, index: int) -> tuple[Places, Places]:
        """Where each run of one label starts, and the pixel after its end."""
        own = np.flatnonzero(self.labels == index)
        ends = self.starts[np.minimum(own + 1, len(self.starts) - 1)]
        if len(own) and own[-1] == len(self.starts) - 1:
            ends[-1] = self.height * self.width
        return self.starts[own], ends

    def coco_rle(self, index: int) -> dict[str, object]:
        """The region of one label as COCO's compressed run-length encoding."""
        starts, ends = self.of_label(index)
        places = np.empty(2 * len(starts) + 2, np.uint32)
        places[0], places[-1] = 0, self.height * self.width
        places[1:-1:2], places[2:-1:2] = starts, ends
        counts = np.diff(places)  # of pixels without the label and with it, in turns
        if not counts[-1]:
            counts = counts[:-1]
        size = [self.height, self.width]
        encoded = coco.frPyObjects({"size": size, "counts": counts}, *size)
        return {"size": size, "counts": encoded["counts"].decode("ascii")}
