"""What tests of `lseg batch` share: images, a small archive, and a decoder that some images kill."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.torch import save

from lseg_serve.model import LSeg
from lseg_serve.segmenter import (
    ARCHIVE_FORMAT,
    CONFIG_FILE,
    LABELS_FILE,
    MANIFEST_FILE,
    WEIGHTS_FILE,
    Pixels,
    decode_image,
)
from tests.support.networks import langseg_tensors

LABELS = ("cat", "grass", "other")
SIZES = ((64, 48), (48, 64), (96, 96))
CONFIG = """
lseg:
  device: cpu
  static_image_size_params: {short_sizes: [64]}
  accurate: {crop_size: 64, base_size: 96, stride: 43, scales: [1.0]}
"""
# At the end of a JPEG decoders read no further; `decode` takes it for what a fault of the decoder would be.
KILLER = b"kill the process"
DECODE = f"{__name__}:decode"
DECODE_LIMIT = f"{__name__}:limit_of_pillow"
# Names a folder in which each process that decodes notes the digests of what it is given.
DECODES = "LSEG_TEST_DECODES"


def decode(content: bytes, most_pixels: int) -> Pixels:
    """As the endpoint decodes, but for the images that end the process, as a fault in a library's C would."""
    if DECODES in os.environ:
        with Path(os.environ[DECODES], str(os.getpid())).open("a") as file:
            file.write(hashlib.sha256(content).hexdigest() + "\n")
    if content.endswith(KILLER):
        os.kill(os.getpid(), signal.SIGSEGV)
    return decode_image(content, most_pixels)


def limit_of_pillow(content: bytes, most_pixels: int) -> Pixels:
    """In the place of a picture, one whose width is how many millions of pixels Pillow itself lets the process decode.

    1 where it has no limit.
    """
    del content, most_pixels
    return np.zeros((1, max(1, (Image.MAX_IMAGE_PIXELS or 0) // 10**6), 3), dtype=np.uint8)


def write_images(folder: Path, count: int) -> None:
    """`count` images of several sizes, of blocks in random colours."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        width, height = SIZES[number % len(SIZES)]
        blocks = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        image = Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST)
        image.save(folder / f"{number:04d}.jpg", quality=90)


def write_archive(net: LSeg, path: Path) -> Path:
    """What an export of `net` for `LABELS` would hold, as far as a worker reads it."""
    manifest = {"format": ARCHIVE_FORMAT, "precision": "float32", "label_set": {"labels": list(LABELS)}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MANIFEST_FILE, json.dumps(manifest))
        archive.writestr(WEIGHTS_FILE, save({name: one.contiguous() for name, one in langseg_tensors(net).items()}))
        archive.writestr(LABELS_FILE, save({"embeddings": net.encode_labels(list(LABELS))}))
        archive.writestr(CONFIG_FILE, CONFIG)
    return path
