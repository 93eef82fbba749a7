"""Images that an export looks at: those of a folder, or the few that ship with the project.

int8 learns the ranges of the network's inputs from all of them. The first is also the test image, on which the logits
of an archive are compared with those of its checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from lseg_serve.export.errors import ExportError
from lseg_serve.segmenter import (
    Bucket,
    Config,
    Pixels,
    SegmenterError,
    choose_bucket,
    decode_image,
    make_buckets,
    resize_to_bucket,
)

# Files beside the package, in a checkout and in an installed copy: data, not code of theirs.
_BUNDLED = tuple(Path(__file__).parent.parent / "demo" / folder for folder in ("photos", "pictures"))
_MOST = 8
_TEST_BUCKET = Bucket(192, 256)  # not square, so that swapped sides show


@dataclass(frozen=True)
class CalibrationImages:
    """Up to 8 image files, and where they come from in words."""

    files: tuple[Path, ...]
    source: str

    @classmethod
    def find(cls, folder: Path | None) -> CalibrationImages:
        """The files of `folder` in the order of their names; without one, the images that ship with the project.

        Raises:
            ExportError: there are none.
        """
        if folder is not None:
            files = sorted(path for path in folder.glob("*") if path.is_file())[:_MOST]
            if not files:
                raise ExportError(
                    f"calibration {folder}: no such folder, or no file in it; accepted: a folder of images"
                )
            return cls(tuple(files), f"{len(files)} of {folder}")
        files = [path for bundled in _BUNDLED for path in sorted(bundled.glob("*.jpg"))][:_MOST]
        if not files:
            raise ExportError("the images that ship with the project are not there; name some by --calibration FOLDER")
        return cls(tuple(files), f"{len(files)} that ship with the project ({', '.join(path.name for path in files)})")

    def at_buckets(self, config: Config) -> Iterator[Tensor]:
        """The images one by one, float32 [1, 3, H, W] in -1..1, each at its bucket.

        Raises:
            ExportError: a file is no image that is served.
        """
        buckets = make_buckets(config.static_image_size_params)
        for path in tqdm(self.files, desc="calibrating", leave=False, disable=None):
            image = _decoded(path, config)
            yield resize_to_bucket(image, choose_bucket(buckets, image.shape[0], image.shape[1]))[None]

    def test_image(self, config: Config) -> Tensor:
        """The first image, float32 [1, 3, 192, 256] in -1..1.

        Raises:
            ExportError: the file is no image that is served.
        """
        return resize_to_bucket(_decoded(self.files[0], config), _TEST_BUCKET)[None].contiguous()


def _decoded(path: Path, config: Config) -> Pixels:
    try:
        return decode_image(path.read_bytes(), config.max_image_pixels)
    except SegmenterError as error:
        raise ExportError(f"calibration {path}: {error.message}") from error
