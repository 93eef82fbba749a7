"""Ground truth: PNGs of label numbers -> the label that each pixel should have."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from lseg_serve.evaluation.errors import EvaluationError

IGNORED = -1
_UNKNOWN = -2
_VALUES = 1 << 16  # 8 and 16 bits
_INDEX_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")

Indices = npt.NDArray[np.int32]


@dataclass(frozen=True)
class TruthRule:
    """What the values of a ground truth mean."""

    table: Indices  # [65536]: index into the labels, IGNORED or _UNKNOWN, by value
    grey: bool = False  # the PNG is black and white, and its brightness is the value

    @classmethod
    def offset(cls, count: int, offset: int = 0, ignore: Iterable[int] = (255,)) -> TruthRule:
        """Value v is label v - `offset`; lower values and those in `ignore` are not counted."""
        table = np.full(_VALUES, _UNKNOWN, dtype=np.int32)
        table[:offset] = IGNORED
        table[offset : offset + count] = np.arange(count)
        return cls(_ignoring(table, ignore))

    @classmethod
    def mapping(cls, values: Mapping[int, int], ignore: Iterable[int] = (255,)) -> TruthRule:
        """Value -> label by a table; those in `ignore` are not counted."""
        table = np.full(_VALUES, _UNKNOWN, dtype=np.int32)
        for value, index in values.items():
            table[value] = index
        return cls(_ignoring(table, ignore))

    @classmethod
    def one_against_others(cls, value: int, ignore: Iterable[int] = (255,)) -> TruthRule:
        """`value` is label 1, every other one label 0."""
        table = np.zeros(_VALUES, dtype=np.int32)
        table[value] = 1
        return cls(_ignoring(table, ignore))

    @classmethod
    def white_on_black(cls) -> TruthRule:
        """A drawing: label 1 from half brightness on, 0 below."""
        return cls((np.arange(_VALUES) >= 128).astype(np.int32), grey=True)

    @property
    def digest(self) -> str:
        """Tells one rule from another."""
        return hashlib.sha256(self.table.tobytes() + bytes([self.grey])).hexdigest()[:16]


def _ignoring(table: Indices, values: Iterable[int]) -> Indices:
    for value in values:
        table[value] = IGNORED
    return table


def read_truth(path: Path, rule: TruthRule) -> Indices:
    """The labels [H, W] in the PNG `path`, IGNORED where a pixel does not count.

    Raises:
        EvaluationError: it cannot be read, has several channels, or holds a value that is neither a label nor ignored.
    """
    try:
        with Image.open(path) as image:
            if not rule.grey and image.mode not in _INDEX_MODES:
                raise EvaluationError(
                    f"{path}: pixels of mode {image.mode}; accepted: one channel whose values are label numbers"
                )
            values = np.asarray(image.convert("L") if rule.grey else image).astype(np.int64)
    except (OSError, SyntaxError, UnidentifiedImageError) as error:
        raise EvaluationError(f"{path}: cannot be read as an image: {error}") from error
    present = np.unique(values)
    unknown = [value for value in present.tolist() if not 0 <= value < _VALUES or rule.table[value] == _UNKNOWN]
    if unknown:
        shown = ", ".join(str(value) for value in unknown[:5])
        raise EvaluationError(f"{path}: holds the value {shown}, which is neither a label's nor ignored")
    return rule.table[values]
