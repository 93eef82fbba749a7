"""PNGs of colours, made and compressed a band of rows at a time, by several threads.

Photos hardly compress, so nearly all of the time goes into trying. Each row is stored as its difference from the row
above, and compressed at the fastest level: a third of the time that Pillow takes to choose a filter for each row, at
about the same size. A band is compressed by itself, and the file is the same whatever the number of threads.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from lseg_serve.segmenter import Pixels

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPE = {3: 2, 4: 6}  # by the number of channels, in the file's header
# What is looked for: runs of one value in RGB; with transparency also repetitions, without which the even fourth
# channel is stored at each pixel, and files are a fifth larger.
_STRATEGY = {3: zlib.Z_RLE, 4: zlib.Z_DEFAULT_STRATEGY}
# The filters of a row: its difference from the pixel to the left, for the first row of a band; from the row above.
_LEFT, _UP = 1, 2
_BAND_BYTES = 1 << 19  # of pixels: they stay in a processor's cache while they are made, filtered and compressed
_ZLIB_HEADER = b"\x78\x01"
_ADLER_BASE = 65521


@dataclass(frozen=True)
class Picture:
    """What becomes a PNG: its size, and a function that makes its rows."""

    height: int
    width: int
    channels: int  # 3: RGB, 4: with transparency
    rows: Callable[[slice], Pixels]  # uint8 [h, W, channels], of these rows; several threads call it at once

    @classmethod
    def of(cls, pixels: Pixels) -> Picture:
        """Of `pixels` uint8 [H, W, 3] or [H, W, 4] that are there."""
        height, width, channels = pixels.shape
        return cls(height, width, channels, lambda rows: pixels[rows])

    def bands(self) -> list[slice]:
        """The rows of each band, from the top."""
        step = max(1, _BAND_BYTES // (self.width * self.channels))
        return [slice(top, min(top + step, self.height)) for top in range(0, self.height, step)]


@dataclass(frozen=True)
class _Band:
    """A compressed part of a file."""

    deflated: bytes
    adler: int  # the checksum of what was compressed
    length: int  # bytes of it


def encode_pngs(pictures: Sequence[Picture], threads: int | None = None) -> list[bytes]:
    """The PNG of each picture. `threads` is how many make them; None: as many as torch computes with."""
    jobs = [(picture, rows) for picture in pictures for rows in picture.bands()]
    threads = min(torch.get_num_threads() if threads is None else threads, len(jobs))
    if threads > 1:
        with ThreadPoolExecutor(threads, "png") as pool:
            bands = iter(list(pool.map(_compressed, jobs)))
    else:
        bands = map(_compressed, jobs)
    return [_file(picture, [next(bands) for _ in picture.bands()]) for picture in pictures]


def _compressed(job: tuple[Picture, slice]) -> _Band:
    picture, rows = job
    pixels = picture.rows(rows).reshape(rows.stop - rows.start, -1)
    lines = np.empty((len(pixels), 1 + pixels.shape[1]), np.uint8)  # the filter's number stands before each row
    lines[0, 0], lines[1:, 0] = _LEFT, _UP
    first, step = pixels[0], picture.channels
    lines[0, 1 : 1 + step] = first[:step]
    np.subtract(first[step:], first[:-step], out=lines[0, 1 + step :])
    np.subtract(pixels[1:], pixels[:-1], out=lines[1:, 1:])
    compressor = zlib.compressobj(1, wbits=-zlib.MAX_WBITS, strategy=_STRATEGY[picture.channels])
    last = rows.stop == picture.height
    deflated = compressor.compress(lines.data) + compressor.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)
    return _Band(deflated, zlib.adler32(lines.data), lines.size)


def _file(picture: Picture, bands: Sequence[_Band]) -> bytes:
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, _COLOR_TYPE[picture.channels], 0, 0, 0)
    parts = [_ZLIB_HEADER, *(band.deflated for band in bands), struct.pack(">I", _adler(bands))]
    return b"".join([_SIGNATURE, *_chunk(b"IHDR", [header]), *_chunk(b"IDAT", parts), *_chunk(b"IEND", [])])


def _adler(bands: Sequence[_Band]) -> int:
    """The checksum of all bands together, from that of each: RFC 1950's two sums, the second weighted by place."""
    low, high = 1, 0
    for band in bands:
        own_low, own_high = band.adler & 0xFFFF, band.adler >> 16
        high = (high + own_high + band.length * (low - 1)) % _ADLER_BASE
        low = (low + own_low - 1) % _ADLER_BASE
    return high << 16 | low


def _chunk(kind: bytes, parts: Sequence[bytes]) -> list[bytes]:
    """A chunk of the file: length, kind, content, checksum."""
    checksum = zlib.crc32(kind)
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return [struct.pack(">I", sum(map(len, parts))), kind, *parts, struct.pack(">I", checksum)]
