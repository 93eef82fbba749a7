"""What a run is to make of each image, and of which model: an output holds results of one such choice alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lseg_serve.batch.errors import BatchError
from lseg_serve.labelsets import LabelInput, as_json, label_of
from lseg_serve.segmenter import MODES, EncodedLabels, Segmenter

FORMATS = ("png", "rle", "embeddings")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Options:
    """What each result depends on, beside the image and the model. None: what the model says."""

    labels: tuple[LabelInput, ...] | None = None
    template: tuple[str, ...] | None = None  # that the words of labels stand in
    mode: str | None = None
    threshold: float = 0.0
    format: str = "png"
    scores: bool = False  # the mean softmax of each label

    def checked(self) -> Options:
        """These options.

        Raises:
            BatchError: one of them is not accepted, or would not be heeded.
        """
        if self.format not in FORMATS:
            raise BatchError(f"format is {self.format!r}; accepted: {', '.join(FORMATS)}")
        if self.mode is not None and self.mode not in MODES:
            raise BatchError(f"mode is {self.mode!r}; accepted: {', '.join(MODES)}")
        if not 0 <= self.threshold <= 1:
            raise BatchError(f"threshold is {self.threshold}; accepted: 0 to 1")
        if self.format == "embeddings" and (self.threshold or self.scores):
            raise BatchError("threshold and scores belong to masks; accepted with embeddings: labels and mode")
        return self

    def encoded(self, segmenter: Segmenter) -> EncodedLabels | None:
        """The labels with their embeddings; None where embeddings of images are to have none.

        Raises:
            InvalidLabelsError: the labels cannot be used.
            InvalidOptionError: the template cannot be used.
        """
        if self.labels is None and self.format == "embeddings":
            return None
        return segmenter.encode_labels(self.labels, self.template)

    def of(self, segmenter: Segmenter) -> dict[str, Any]:
        """These options as JSON holds them, with the values that `segmenter` gives to what is None."""
        labels: Sequence[Any] = self.labels if self.labels is not None else segmenter.label_set
        if self.labels is None and self.format == "embeddings":
            labels = ()
        template = self.template if self.template is not None else segmenter.config.template
        return {
            **asdict(self),
            "labels": [as_json(label_of(label)) for label in labels],
            "template": [template] if isinstance(template, str) else list(template),
            "mode": self.mode or segmenter.config.mode,
        }


def digest_of(model: str) -> str:
    """SHA-256 of a model: of its file, or of the files of its folder with their names.

    Raises:
        BatchError: there is no such file or folder.
    """
    path = Path(model)
    if path.is_file():
        return _digest(path)
    if not path.is_dir():
        raise BatchError(f"{model}: no such model; accepted: an archive that `lseg export` wrote, or a checkpoint")
    parts = [f"{one.relative_to(path).as_posix()} {_digest(one)}" for one in sorted(path.rglob("*")) if one.is_file()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
