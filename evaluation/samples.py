"""What is measured: images, each with its ground truth and the labels to ask for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lseg_serve.evaluation.errors import EvaluationError
from lseg_serve.evaluation.truth import TruthRule
from lseg_serve.labelsets import (
    NAMES,
    Label,
    LabelFileError,
    as_json,
    label_of,
    name_of,
    parse_labels,
    published_labels,
    read_label_file,
    words_of,
)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Sample:
    """One image to send, and the ground truth of its mask."""

    name: str  # unique in an evaluation
    image: Path
    truth: Path
    rule: TruthRule
    labels: tuple[Label, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What the legend of its mask calls the labels."""
        return tuple(map(name_of, self.labels))

    @property
    def sent_labels(self) -> tuple[Any, ...] | None:
        """The labels to send. None if the endpoint would refuse them, because two of them are the same to it.

        They must then be the label set that was exported with the model. The legend of each response tells.
        """
        words = [word for label in self.labels for word in words_of(label)]
        distinct = {" ".join(word.casefold().split()) for word in words}
        return tuple(map(as_json, self.labels)) if len(distinct) == len(words) else None


@dataclass(frozen=True)
class LabelFile:
    """Labels and, where the file gives them, the values that stand for them in the ground truth."""

    labels: tuple[Label, ...]
    values: dict[int, int] | None  # value -> index into labels


def read_labels(name: str) -> LabelFile:
    """A published label set by its name, or a file.

    A file has one label a line or is a JSON list, both in the order of their indices, or a JSON object of value: label,
    such as {"7": "road", "8": "sidewalk"}; several values may stand for one label there. A label may be a group of
    words, as `labelsets.read_labels` says.

    Raises:
        EvaluationError: no such set or file, or it holds no labels.
    """
    try:
        if name in NAMES:
            return LabelFile(published_labels(name), None)
        text = read_label_file(name)
        if text.lstrip().startswith("{"):
            return _labels_with_values(text, name)
        return LabelFile(parse_labels(text, name), None)
    except LabelFileError as error:
        raise EvaluationError(str(error)) from error


def _labels_with_values(text: str, name: str) -> LabelFile:
    try:
        found = {int(value): label_of(label) for value, label in json.loads(text).items()}
        if not all(0 <= value < 1 << 16 for value in found):
            raise ValueError("a value is outside 0..65535")
    except ValueError as error:  # also what json raises
        raise EvaluationError(f"labels {name!r}: {error}; accepted: value: label, such as 7: road") from error
    labels = tuple(dict.fromkeys(found.values()))
    if not labels:
        raise EvaluationError(f"labels {name!r}: holds an empty label or none at all")
    return LabelFile(labels, {value: labels.index(label) for value, label in found.items()})


def ade20k_samples(data: Path, labels: Sequence[Label], split: str) -> list[Sample]:
    """ADE20K as published in ADEChallengeData2016.zip: value 0 is ignored, value v is label v - 1.

    Raises:
        EvaluationError: a folder or a ground truth is missing.
    """
    root = ade20k_root(data)
    rule = TruthRule.offset(len(labels), offset=1, ignore=())
    return _paired(root / "images" / split, root / "annotations" / split, rule, tuple(labels))


def ade20k_root(data: Path) -> Path:
    """The folder ADEChallengeData2016, which `data` is or holds."""
    return data if data.name == "ADEChallengeData2016" else data / "ADEChallengeData2016"


def folder_samples(
    images: Path, truth: Path, rule: TruthRule, labels: Sequence[Label], image_suffix: str = "", truth_suffix: str = ""
) -> list[Sample]:
    """The images in a folder and its subfolders, each with the PNG at the same place in `truth`.

    The suffixes are what follows the common part of the names, such as `_leftImg8bit` and `_gtFine_labelIds`.

    Raises:
        EvaluationError: a folder or a ground truth is missing.
    """
    return _paired(images, truth, rule, tuple(labels), image_suffix, truth_suffix)


def _paired(
    images: Path,
    truth: Path,
    rule: TruthRule,
    labels: tuple[Label, ...],
    image_suffix: str = "",
    truth_suffix: str = "",
) -> list[Sample]:
    for folder in (images, truth):
        if not folder.is_dir():
            raise EvaluationError(f"{folder}: no such folder")
    samples = []
    for path, name in image_files(images, image_suffix):
        target = truth / f"{name}{truth_suffix}.png"
        if not target.is_file():
            raise EvaluationError(f"{path}: has no ground truth; looked for {target}")
        samples.append(Sample(name, path, target, rule, labels))
    if not samples:
        raise EvaluationError(f"{images}: holds no image; accepted: *{image_suffix}{', '.join(IMAGE_SUFFIXES)}")
    if len({sample.name for sample in samples}) < len(samples):
        raise EvaluationError(f"{images}: two images differ only in their file type, so one truth would serve both")
    return samples


def image_files(folder: Path, suffix: str = "") -> Iterator[tuple[Path, str]]:
    """The images below `folder` by name, each with its relative path without `suffix` and file type."""
    for path in sorted(folder.rglob(f"*{suffix}.*")):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            yield path, path.relative_to(folder).with_suffix("").as_posix().removesuffix(suffix)
