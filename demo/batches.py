"""Batches of scenes with a question about each: the same batch for the same step, whatever came before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lseg_serve.demo.cache import Shelf
from lseg_serve.demo.questions import Question, ask
from lseg_serve.demo.repaint import repaint
from lseg_serve.demo.views import Showing, through_windows, whole

_ORDER_STREAM, _QUESTION_STREAM = 1, 2


@dataclass(frozen=True)
class Batch:
    """Scenes of one size.

    `pixels` float32 [B, 3, H, W] in -1..1; `phrases` each once; for every scene, `choices` int64 [K_b] are its
    candidates as rows of `phrases`, and `answers` int64 [B, H/2, W/2] index into those, 255 where none is right.
    """

    pixels: Tensor
    phrases: tuple[str, ...]
    choices: tuple[Tensor, ...]
    answers: Tensor


class Batches:
    """An endless, seeded walk over the shelves: every scene once an epoch, in batches of one bucket.

    Of every batch it gives the `share` of `shares` equal ones.
    """

    def __init__(self, shelves: Sequence[Shelf], batch_size: int, seed: int, share: int = 0, shares: int = 1) -> None:
        self.shelves, self.batch_size, self.seed = shelves, batch_size, seed
        self.share, self.shares = share, shares
        self._epoch = cache(self._order)

    def __call__(self, step: int, *, coarse: bool, showing: Showing) -> Batch:
        """The batch of `step`; `coarse` at two thirds of the bucket's size."""
        per_epoch = len(self._epoch(0))
        shelf, rows = self._epoch(step // per_epoch)[step % per_epoch]
        rng = np.random.default_rng((self.seed, _QUESTION_STREAM, step, self.share))
        return make_batch(self.shelves[shelf], rows[self.share :: self.shares], rng, coarse=coarse, showing=showing)

    def _order(self, epoch: int) -> list[tuple[int, npt.NDArray[np.int64]]]:
        """(shelf, rows) of every batch of the epoch; a shelf's last, short batch is left out."""
        rng = np.random.default_rng((self.seed, _ORDER_STREAM, epoch))
        batches = []
        for index, shelf in enumerate(self.shelves):
            rows = rng.permutation(len(shelf))
            whole = len(rows) // self.batch_size
            batches += [(index, part) for part in np.split(rows[: whole * self.batch_size], max(1, whole)) if len(part)]
        return [batches[index] for index in rng.permutation(len(batches)).tolist()]


def make_batch(
    shelf: Shelf,
    rows: npt.NDArray[np.int64],
    rng: np.random.Generator,
    *,
    coarse: bool,
    showing: Showing,
) -> Batch:
    """The scenes `rows` of `shelf`, each mirrored or not, with a question about each."""
    images, classes, colours = (kept[np.sort(rows)] for kept in (shelf.images, shelf.classes, shelf.colours))
    if rng.random() < showing.windows:
        view = through_windows(images, classes, colours, rng, coarse=coarse, scales=showing.scales)
    else:
        view = whole(images, classes, colours, coarse=coarse)
    chances = rng.random(len(rows))
    to_grey, as_drawn = chances < showing.grey, chances >= showing.grey + showing.turned
    questions = [
        ask(rng, *truth, name_colours=bool(plain))
        for *truth, plain in zip(view.classes, view.colours, as_drawn, strict=True)
    ]
    answers = torch.from_numpy(np.stack([question.answers for question in questions])).long()
    mirrored = torch.from_numpy(rng.random(len(rows)) < 0.5)
    pixels = repaint(view, to_grey, ~(to_grey | as_drawn), rng)
    pixels = torch.where(mirrored[:, None, None, None], pixels.flip(3), pixels)
    answers = torch.where(mirrored[:, None, None], answers.flip(2), answers)
    phrases, choices = _shared_phrases(questions)
    return Batch(pixels, phrases, choices, answers)


def _shared_phrases(questions: Sequence[Question]) -> tuple[tuple[str, ...], tuple[Tensor, ...]]:
    """The phrases of all questions, each once, and every question's candidates as rows of them."""
    rows: dict[str, int] = {}
    for question in questions:
        for phrase in question.candidates:
            rows.setdefault(phrase, len(rows))
    choices = [torch.tensor([rows[phrase] for phrase in question.candidates]) for question in questions]
    return tuple(rows), tuple(choices)
