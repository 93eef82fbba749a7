"""Compare the brush code of answers in JSON with what Label Studio's SDK writes and reads: ANSWERS MASKS."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from common import Comparison
from label_studio_sdk.converter import brush

answers, masks = map(Path, sys.argv[1:])
comparison = Comparison(masks)
same = 0
for path in sorted(answers.glob("*.json")):
    mask, _ = comparison.mask(path.stem)
    objects = []
    for label in json.loads(path.read_bytes())["labels"]:
        code = label["label_studio"]
        if code is None:
            continue
        written = brush.mask2rle(np.where(mask == label["index"], 255, 0).astype(np.uint8))
        same += list(written) == code
        pixels = np.asarray(brush.decode_rle(code)).reshape(*mask.shape, 4)
        objects.append((label["name"], (pixels == 255).all(axis=2)))
    comparison.add(path.stem, objects)
comparison.found["same"] = same
comparison.say()
