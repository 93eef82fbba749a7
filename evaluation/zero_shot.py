"""lang-seg's zero-shot protocol: one class at a time against "others", on classes that training never saw."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from lseg_serve.evaluation.errors import EvaluationError
from lseg_serve.evaluation.journal import Journal, Record
from lseg_serve.evaluation.metrics import Counts, measure
from lseg_serve.evaluation.page import Table, write_page
from lseg_serve.evaluation.report import failure_warning, total_confusion
from lseg_serve.evaluation.runner import Session
from lseg_serve.evaluation.samples import Sample
from lseg_serve.evaluation.tables import latency, write_csv, write_json
from lseg_serve.evaluation.truth import TruthRule, read_truth
from lseg_serve.labelsets import published_labels

OTHERS = "others"
FOLDS = 4


@dataclass(frozen=True)
class Pair:
    """One image and one class that occurs in it."""

    sample: Sample
    category: str


def fold_classes(count: int, fold: int, *, interleaved: bool) -> list[int]:
    """The classes of a fold: a quarter of them in a row (Pascal-5i), or every fourth (COCO-20i)."""
    size = count // FOLDS
    return [fold + FOLDS * i for i in range(size)] if interleaved else [fold * size + i for i in range(size)]


def pascal_pairs(data: Path, fold: int) -> list[Pair]:
    """Pascal-5i: the images of VOC2012's validation list, their boundaries (255) not counted.

    `data` is or holds VOC2012; SegmentationClassAug is used where it is there, as lang-seg does.
    """
    root = next((path for path in (data / "VOCdevkit" / "VOC2012", data / "VOC2012") if path.is_dir()), data)
    truth = root / "SegmentationClassAug"
    truth = truth if truth.is_dir() else root / "SegmentationClass"
    listing = root / "ImageSets" / "Segmentation" / "val.txt"
    if not listing.is_file():
        raise EvaluationError(f"{listing}: no such file; --data is or holds VOC2012")
    names = listing.read_text(encoding="utf-8").split()
    triples = [(name, root / "JPEGImages" / f"{name}.jpg", truth / f"{name}.png") for name in names]
    labels = published_labels("pascal-published")
    return list(_pairs(triples, labels, fold_classes(len(labels), fold, interleaved=False), ignore=(255,)))


def coco_pairs(data: Path, fold: int) -> list[Pair]:
    """COCO-20i: val2014/*.jpg with annotations/val2014/*.png, whose value is the class + 1; nothing is ignored.

    `data` is or holds COCO2014.
    """
    root = data / "COCO2014" if (data / "COCO2014").is_dir() else data
    images, truth = root / "val2014", root / "annotations" / "val2014"
    for folder in (images, truth):
        if not folder.is_dir():
            raise EvaluationError(f"{folder}: no such folder; --data is or holds COCO2014")
    triples = [(path.stem, path, truth / f"{path.stem}.png") for path in sorted(images.glob("*.jpg"))]
    labels = published_labels("coco-published")
    return list(_pairs(triples, labels, fold_classes(len(labels), fold, interleaved=True), ignore=()))


def fss_pairs(data: Path, classes: Sequence[str] | None) -> list[Pair]:
    """FSS-1000: one folder for each class, 1.jpg with 1.png and so on; `data` is or holds FSS-1000.

    The first image is left out, as in lang-seg's one-shot evaluation, where it is the example that is given away.
    `classes` are the 240 of the test list; without it all folders count.
    """
    root = data / "FSS-1000" if (data / "FSS-1000").is_dir() else data
    if not root.is_dir():
        raise EvaluationError(f"{root}: no such folder")
    names = classes or sorted(path.name for path in root.iterdir() if path.is_dir())
    pairs = []
    for name in names:
        if not (root / name).is_dir():
            raise EvaluationError(f"{root / name}: no such folder, but the class is in the list")
        for image in sorted((root / name).glob("*.jpg"))[1:]:
            truth = image.with_suffix(".png")
            pairs.append(_pair(f"{name}/{image.stem}", image, truth, TruthRule.white_on_black(), name))
    return pairs


def drawn(pairs: Sequence[Pair], limit: int | None, seed: int) -> list[Pair]:
    """At most `limit` pairs, drawn evenly over the classes; lang-seg draws 1000 for Pascal and COCO."""
    if limit is None or limit >= len(pairs):
        return list(pairs)
    generator = random.Random(seed)
    categories: dict[str, list[Pair]] = {}
    for pair in generator.sample(list(pairs), len(pairs)):
        categories.setdefault(pair.category, []).append(pair)
    chosen: list[Pair] = []
    while len(chosen) < limit:
        for waiting in categories.values():
            if waiting and len(chosen) < limit:
                chosen.append(waiting.pop())
    return chosen


def _pairs(
    triples: Sequence[tuple[str, Path, Path]], labels: Sequence[str], classes: Sequence[int], ignore: tuple[int, ...]
) -> Iterator[Pair]:
    rules = {index: TruthRule.one_against_others(index + 1, ignore) for index in classes}
    for name, image, truth in tqdm(triples, desc="reading ground truth", unit="image", leave=False, disable=None):
        try:
            with Image.open(truth) as png:
                present = set(np.unique(np.asarray(png)).tolist())
        except OSError as error:
            raise EvaluationError(f"{truth}: cannot be read: {error}") from error
        for index in classes:
            if index + 1 in present:
                yield _pair(f"{name}__{index + 1:02d}", image, truth, rules[index], labels[index])


def _pair(name: str, image: Path, truth: Path, rule: TruthRule, category: str) -> Pair:
    for path in (image, truth):
        if not path.is_file():
            raise EvaluationError(f"{path}: no such file")
    return Pair(Sample(name, image, truth, rule, (OTHERS, category)), category)


def check_pairs(pairs: Sequence[Pair]) -> None:
    """Raise EvaluationError if there is nothing to measure, or if the first ground truth cannot be read."""
    if not pairs:
        raise EvaluationError("no image holds a class of this fold")
    read_truth(pairs[0].sample.truth, pairs[0].sample.rule)


@dataclass(frozen=True)
class FoldFigures:
    """Shares from 0 to 1."""

    class_iou: dict[str, float]  # of each class, over all its images together
    miou: float  # mean of the same
    fb_iou: float  # mean of foreground and background, each over all images of all classes together


def fold_figures(pairs: Sequence[Pair], records: Mapping[str, Record]) -> FoldFigures:
    """The two published figures of one fold, as HSNet defines them (arXiv 2104.01538, section 5.1)."""
    by_class: dict[str, Counts] = {}
    for pair in pairs:
        if pair.sample.name in records:
            counts = total_confusion([records[pair.sample.name]], 2)
            by_class[pair.category] = by_class.get(pair.category, np.zeros((2, 3), dtype=np.int64)) + counts
    if not by_class:
        return FoldFigures({}, 0.0, 0.0)
    class_iou = {name: float(measure(counts).iou[1]) for name, counts in sorted(by_class.items())}
    # lang-seg counts a pixel that is not ignored as background or foreground; a union is summed before it divides.
    total = np.sum(list(by_class.values()), axis=0)
    return FoldFigures(class_iou, float(np.mean(list(class_iou.values()))), float(measure(total).iou.mean()))


def write_zero_shot_report(
    folder: Path, title: str, pairs: Sequence[Pair], journal: Journal, settings: Mapping[str, Any], session: Session
) -> dict[str, Any]:
    """Write the figures below `folder` and return the summary that metrics.json holds."""
    records = [journal.records[pair.sample.name] for pair in pairs if pair.sample.name in journal.records]
    measured = {record.name: record for record in records if record.error is None}
    figures = fold_figures(pairs, measured)
    summary: dict[str, Any] = {
        "title": title,
        "pairs": len(measured),
        "failed": {record.name: {"status": record.status, "error": record.error} for record in records if record.error},
        "not_measured": len(pairs) - len(records),
        "class_iou": figures.miou,
        "fb_iou": figures.fb_iou,
        "latency_ms": latency(list(measured.values())),
        "last_session": {"images": session.images, "seconds": round(session.seconds, 1)},
        "settings": dict(settings),
        "classes": figures.class_iou,
    }
    write_json(folder / "metrics.json", summary)
    rows = sorted(figures.class_iou.items(), key=lambda item: item[1])
    write_csv(folder / "classes.csv", ("class", "iou"), rows)
    headline = [("class IoU (mean over classes)", f"{figures.miou:.4f}"), ("FB-IoU", f"{figures.fb_iou:.4f}")]
    tables = [
        Table("Figures", "", ("figure", "value"), [("image and class pairs", len(measured)), *headline]),
        Table("Classes, worst first", "", ("class", "IoU"), [(name, f"{iou:.4f}") for name, iou in rows]),
    ]
    write_page(folder / "report.html", title, failure_warning(records, len(pairs)), tables, [])
    return summary
