"""Read the polygons of answers in JSON by shapely, and compare them with the masks: ANSWERS MASKS.

`wrong` counts pixels by the areas of what is in one of both alone, rounded up; `worst` is the least IoU of a label.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from common import Comparison
from shapely.geometry import MultiPolygon, box, shape
from shapely.ops import unary_union

answers, masks = map(Path, sys.argv[1:])
comparison = Comparison(masks)
worst, invalid, points = 1.0, 0, 0
for path in sorted(answers.glob("*.json")):
    mask, _ = comparison.mask(path.stem)
    for label in json.loads(path.read_bytes())["labels"]:
        if label["polygons"] is None:
            continue
        read = shape({"type": "MultiPolygon", "coordinates": label["polygons"]})
        assert isinstance(read, MultiPolygon)
        points += sum(len(ring) for polygon in label["polygons"] for ring in polygon)
        invalid += not read.is_valid
        runs = []
        for y, row in enumerate(np.pad(mask == label["index"], ((0, 0), (1, 1)))):
            ends = np.flatnonzero(row[1:] != row[:-1])
            runs += [box(left, y, right, y + 1) for left, right in zip(ends[::2], ends[1::2], strict=True)]
        truth = unary_union(runs)
        read = read.buffer(0)
        common = read.intersection(truth).area
        worst = min(worst, common / (read.area + truth.area - common))
        comparison.found["objects"] += 1
    comparison.found["items"] += 1
comparison.found |= {"invalid": invalid, "points": points}
print(json.dumps({**comparison.found, "worst": worst}))
