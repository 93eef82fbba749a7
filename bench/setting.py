"""What is measured: a checkpoint, its archives in several precisions, photos and labels."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from lseg_serve.bench.naive import Naive
from lseg_serve.labelsets import published_labels
from lseg_serve.model import read_checkpoint
from lseg_serve.segmenter import Config, Segmenter

PROJECT = Path(__file__).resolve().parent.parent
_PHOTO = PROJECT / "demo" / "photos" / "cat.jpg"


@dataclass(frozen=True)
class Setting:
    """A checkpoint at full size, where its archives lie, and which precisions to look at."""

    checkpoint: Path
    store: Path
    precisions: tuple[str, ...]

    def naive(self) -> Naive:
        """The naive path with this checkpoint."""
        return Naive(read_checkpoint(self.checkpoint).tensors)

    def archive(self, precision: str) -> Path:
        """The archive of `precision`, as a folder. It is exported if it does not exist yet."""
        path = self.store / model_name(precision)
        if not path.exists():
            command = [sys.executable, "-m", "export", str(self.checkpoint), "--output", str(self.store)]
            command += ["--name", path.name, "--precision", precision, "--archive-format", "no-archive"]
            subprocess.run(command, cwd=PROJECT, check=True)
        return path

    def segmenters(self) -> dict[str, Segmenter]:
        """One for each precision, in this process, on the CPU as the naive path is."""
        on_cpu = Config(device="cpu")
        return {precision: Segmenter.load(self.archive(precision), on_cpu) for precision in self.precisions}


def model_name(precision: str) -> str:
    """The name under which a precision is exported and served."""
    return f"lseg-{precision}"


def labels(count: int, kind: str = "") -> tuple[str, ...]:
    """The first `count` labels of ADE20K; with a `kind` before each, so that they are in no cache."""
    names = published_labels("ade20k")[:count]
    return tuple(f"{kind} {name}" for name in names) if kind else names


@dataclass(frozen=True)
class Photo:
    """A JPEG as a camera writes it, and its pixels uint8 [height, width, 3]."""

    content: bytes
    pixels: npt.NDArray[np.uint8]


def photo_at(width: int, height: int, number: int = 0) -> Photo:
    """The bundled photo at a size, moved sideways by `number` pixels: each number is another image for the cache."""
    with Image.open(_PHOTO) as photo:
        pixels = np.asarray(photo.convert("RGB").resize((width, height), Image.Resampling.BICUBIC))
    content = jpeg(np.roll(pixels, number, axis=1))
    with Image.open(io.BytesIO(content)) as saved:
        return Photo(content, np.asarray(saved))


def jpeg(pixels: npt.NDArray[np.uint8], orientation: int | None = None) -> bytes:
    """The file of `pixels` [height, width, 3] at a camera's quality; `orientation` is how EXIF says to turn them."""
    exif = Image.Exif()
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=92, exif=exif.tobytes() if exif else b"")
    return buffer.getvalue()
