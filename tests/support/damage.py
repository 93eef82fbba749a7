"""What must hold of a damaged image file, however it is damaged."""

from __future__ import annotations

from lseg_serve.segmenter.errors import SegmenterError
from lseg_serve.segmenter.preprocessing.decoding import decode_image

_MOST_PIXELS = 100_000


def assert_pixels_or_answer(damaged: bytes) -> None:
    """The file `damaged` gives RGB pixels, or an error that a client gets as an answer; never anything else."""
    try:
        pixels = decode_image(damaged, _MOST_PIXELS)
    except SegmenterError as error:
        assert error.status in (400, 413, 415)
    else:
        assert pixels.shape[2:] == (3,)
