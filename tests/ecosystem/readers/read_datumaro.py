"""Read a data set by datumaro, and compare its masks: FOLDER FORMAT MASKS."""

from __future__ import annotations

import sys
from pathlib import Path

import datumaro
import numpy as np
from common import Comparison

folder, format_name, masks = sys.argv[1:]
dataset = datumaro.Dataset.import_from(folder, format_name)
names = [category.name for category in dataset.categories()[datumaro.AnnotationType.label]]
comparison = Comparison(Path(masks))
for item in dataset:
    found = [one for one in item.annotations if one.type == datumaro.AnnotationType.mask]
    comparison.add(Path(item.id).name, [(names[one.label], np.asarray(one.image).astype(bool)) for one in found])
comparison.say()
