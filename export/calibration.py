"""Pictures that an export looks at: those of a folder of one's own, or drawn scenes.

Some show int8 the ranges of the network's inputs, one shows how far the archive's logits are from the checkpoint's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from lseg_serve.demo.scenes import draw_scene
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

_COUNT = 8
_SIZES = ((480, 480), (640, 480), (480, 640))  # width, height of drawn scenes
_TEST_BUCKET = Bucket(192, 256)  # not square, so that swapped sides show


def calibration_pictures(folder: Path | None, config: Config) -> Iterator[Tensor]:
    """Up to 8 pictures float32 [1, 3, H, W] in -1..1, each at its bucket; without a `folder`, drawn scenes.

    Raises:
        ExportError: a file in the folder is no image that is served, or there is none at all.
    """
    buckets = make_buckets(config.static_image_size_params)
    for image in tqdm(_images(folder, config), total=_COUNT, desc="calibrating", leave=False, disable=None):
        yield resize_to_bucket(image, choose_bucket(buckets, image.shape[0], image.shape[1]))[None]


def probe_picture(folder: Path | None, config: Config) -> Tensor:
    """The picture to compare logits on, float32 [1, 3, 192, 256] in -1..1: the folder's first, or a scene of its own.

    Raises:
        ExportError: as `calibration_pictures`.
    """
    image = draw_scene(_COUNT, _SIZES[1]).image if folder is None else next(_images(folder, config))
    return resize_to_bucket(image, _TEST_BUCKET)[None].contiguous()


def _images(folder: Path | None, config: Config) -> Iterator[Pixels]:
    if folder is None:
        for seed in range(_COUNT):
            yield draw_scene(seed, _SIZES[seed % len(_SIZES)]).image
        return
    files = sorted(path for path in folder.glob("*") if path.is_file())[:_COUNT]
    if not files:
        raise ExportError(f"calibration {folder}: no such folder, or no file in it; accepted: a folder of images")
    for path in files:
        try:
            yield decode_image(path.read_bytes(), config.max_image_pixels)
        except SegmenterError as error:
            raise ExportError(f"calibration {path}: {error.message}") from error
