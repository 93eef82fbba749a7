"""Read a COCO document by supervision, and compare its masks: IMAGES DOCUMENT MASKS."""

from __future__ import annotations

import sys
from pathlib import Path

import supervision
from common import Comparison

images, document, masks = sys.argv[1:]
dataset = supervision.DetectionDataset.from_coco(images, document, force_masks=True)
comparison = Comparison(Path(masks))
for path, _, found in dataset:
    objects = zip(found.class_id, found.mask, strict=True)
    comparison.add(Path(path).stem, [(dataset.classes[index], pixels) for index, pixels in objects])
comparison.say()
