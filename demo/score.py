"""Scores the demo's weights on scenes they never saw: `python -m demo.score`, through the path that serves them."""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lseg_serve.demo.preset import IMAGE_SIZES
from lseg_serve.demo.trials import NAMES, try_alone, try_held_out_pairs, try_words
from lseg_serve.demo.weights_file import WEIGHTS
from lseg_serve.segmenter import Config, Segmenter

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scores:
    """Every figure in percent; IoU is intersection over union, counted over all scenes of a trial."""

    scenes: int
    mean_iou: float  # all base labels together, by name
    accuracy: float  # share of pixels with the right label
    synonyms_mean_iou: float
    held_out_pairs_mean_iou: float
    known_pairs_mean_iou: float
    alone_mean_iou: float  # each label alone with "other"
    shuffled_mean_iou: float
    nonsense_mean_iou: float
    iou: dict[str, float]
    synonyms_iou: dict[str, float]
    alone_iou: dict[str, float]
    held_out_pairs_iou: dict[str, float]


def score(segmenter: Segmenter, scenes: int) -> Scores:
    """All trials; `scenes` for those of words, fewer for the others, whose figures settle sooner."""
    words = try_words(segmenter, scenes)
    held_out, known = try_held_out_pairs(segmenter, -(-scenes * 2 // 5))
    alone = try_alone(segmenter, -(-scenes * 2 // 5))
    return Scores(
        scenes=scenes,
        mean_iou=_percent(words["names"].mean_iou()),
        accuracy=_percent(words["names"].accuracy()),
        synonyms_mean_iou=_percent(words["synonyms"].mean_iou()),
        held_out_pairs_mean_iou=_percent(held_out.mean_iou()),
        known_pairs_mean_iou=_percent(known.mean_iou()),
        alone_mean_iou=_percent(alone.mean_iou()),
        shuffled_mean_iou=_percent(words["shuffled"].mean_iou()),
        nonsense_mean_iou=_percent(words["nonsense"].mean_iou()),
        iou=_by_name(words["names"].iou().tolist()),
        synonyms_iou=_by_name(words["synonyms"].iou().tolist()),
        alone_iou={name: _percent(value) for name, value in alone.iou().items()},
        held_out_pairs_iou={pair: _percent(value) for pair, value in sorted(held_out.iou().items())},
    )


def _percent(share: float) -> float:
    return round(100 * share, 1)


def _by_name(shares: list[float]) -> dict[str, float]:
    return {name: _percent(share) for name, share in zip(NAMES, shares, strict=True) if not np.isnan(share)}


def as_markdown(scores: Scores) -> str:
    """The figures as three tables."""
    figures = (
        (f"{len(NAMES)} labels by name", scores.mean_iou),
        ("the same, by synonyms", scores.synonyms_mean_iou),
        ("colour-object pairs never seen in training", scores.held_out_pairs_mean_iou),
        ("colour-object pairs seen in training", scores.known_pairs_mean_iou),
        ('one label alone with "other"', scores.alone_mean_iou),
        ("names shuffled against the classes", scores.shuffled_mean_iou),
        ("nonsense words", scores.nonsense_mean_iou),
    )
    lines = [f"On {scores.scenes} scenes that training never drew; {scores.accuracy} % of the pixels right.", ""]
    lines += ["| labels | mean IoU, % |", "|---|---|", *(f"| {what} | {value} |" for what, value in figures), ""]
    lines += ["| label | IoU, % | by a synonym | alone with other |", "|---|---|---|---|"]
    for name, value in scores.iou.items():
        lines.append(f"| {name} | {value} | {scores.synonyms_iou[name]} | {scores.alone_iou.get(name, '-')} |")
    lines += ["", "| pair never seen | IoU, % |", "|---|---|"]
    lines += [f"| {pair} | {value} |" for pair, value in scores.held_out_pairs_iou.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Score the demo's weights on drawn scenes they never saw.")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--output", type=Path, help="folder for scores.json and scores.md; default: beside the weights")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = Config(device="cpu", static_image_size_params=IMAGE_SIZES)
    scores = score(Segmenter.load(options.weights, config), options.scenes)
    folder = options.output or options.weights.parent
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scores.json").write_text(json.dumps(asdict(scores), indent=2) + "\n", encoding="utf-8")
    (folder / "scores.md").write_text(as_markdown(scores), encoding="utf-8")
    _LOG.info("%s", as_markdown(scores))


if __name__ == "__main__":
    main()
