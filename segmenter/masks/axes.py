"""How the rows of a map, or its columns, are resized: between which two of the source each of the target lies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from lseg_serve.segmenter.masks.score_maps import Rule, positions

Places = npt.NDArray[np.int32]  # enough, as no map has 2 ** 31 pixels; int64 would take twice the bytes
Shares = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Axis:
    """How rows (or columns) are resized: each of T target rows is a blend of two neighbouring source rows."""

    neighbours: Places  # [T, 2]: the two source rows; at the end twice the same
    weights: Shares  # [T, 2], 0..1, which sum to 1


@dataclass(frozen=True)
class Spans:
    """Which of T target rows lie in each of C spans; a span reaches from one source row to the next, or a part of it.

    What lies on a source row belongs to the span that begins there. The last span has no end but its beginning.
    """

    starts: Places  # [C + 1]: the rows of span c are starts[c] to starts[c + 1] - 1
    places: Shares  # [T], 0..1: where a row lies in its span
    near: Shares  # [C]: the sum of 1 - place over the rows of a span
    far: Shares  # [C]: the sum of their places
    bow: Shares  # [C]: the sum of 2 place (1 - place), a parabola that is 0 at both ends of the span

    @cached_property
    def counts(self) -> Places:
        """How many rows lie in each span: [C]."""
        return np.diff(self.starts)

    def within(self, chosen: Places) -> Places:
        """The rows of the spans `chosen` [N], none empty: [P, N]. A span of fewer has its last row several times."""
        first, last = self.starts[chosen], self.starts[chosen + 1] - 1
        return np.minimum(first + np.arange((last - first).max(initial=0) + 1, dtype=np.int32)[:, None], last)


@lru_cache(maxsize=64)
def resized_axis(source: int, target: int, rule: Rule) -> Axis:
    """The axis of `source` rows that become `target` rows."""
    where = positions(source, target, rule).numpy()
    first = where.astype(np.int32)
    share = (where - first).astype(np.float32)
    neighbours = np.stack([first, np.minimum(first + 1, source - 1)], axis=1)
    return Axis(neighbours, np.stack([1 - share, share], axis=1))


@lru_cache(maxsize=64)
def spans(source: int, target: int, rule: Rule, parts: int) -> Spans:
    """The spans of that axis, each cut into `parts` equal parts; a power of two, so that nothing is rounded."""
    where = positions(source, target, rule).numpy() * parts
    span = where.astype(np.int32)
    places = where - span
    count = source * parts

    def total(values: npt.NDArray[Any]) -> Shares:
        return np.bincount(span, weights=values, minlength=count).astype(np.float32)

    starts = np.searchsorted(span, np.arange(count + 1)).astype(np.int32)
    bow = total(2 * places * (1 - places))
    return Spans(starts, places.astype(np.float32), total(1 - places), total(places), bow)
