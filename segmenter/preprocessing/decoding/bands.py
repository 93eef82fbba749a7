"""From bands of numbers, as satellites, microscopes and scanners store them, to RGB: one rule for all kinds of file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lseg_serve.segmenter.errors import InvalidOptionError, UnsupportedImageError
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels

Numbers = npt.NDArray[Any]  # integers or floats

# Cameras and scanners have sensors of these many bits. Data of such a depth is often stored in 16 or 32 bits as it is,
# so that its brightest value is far below the type's.
_DEPTHS = (8, 10, 12, 14, 16, 24, 32)
_MOST_OF_UNIT, _MOST_OF_BYTES = 1.0, 255.0  # the usual white of floats
_LEAST_OF_BYTES = 16.0  # floats from 0 to less than this, and above 1, may be of either scale
_BLOCK = 1 << 20  # values that are converted at once, so that no second copy of the whole image is made


@dataclass(frozen=True)
class Reading:
    """How to read an image's numbers as colours, where the client says it."""

    bands: tuple[int, ...] | None = None  # one for grey, or three for red, green and blue; the first band is 1
    range: tuple[float, float] | None = None  # the values that are black and white

    def indices(self, count: int) -> tuple[int, ...] | None:
        """The positions of `bands` in an image of `count` bands, from 0; None where the client names none.

        Raises:
            InvalidOptionError: the image has no such band.
        """
        if self.bands is None:
            return None
        if max(self.bands) > count:
            named = ",".join(map(str, self.bands))
            raise InvalidOptionError(f"bands is {named}; accepted: 1 to {count}, the bands of this image", "bands")
        return tuple(band - 1 for band in self.bands)


AS_IT_IS = Reading()


@dataclass(frozen=True)
class Samples:
    """The numbers of an image's pixels, and what the file says of them."""

    colors: Numbers  # [H, W, 1] grey, or [H, W, 3] red, green and blue
    alpha: Numbers | None = None  # [H, W]
    premultiplied: bool = False  # the colours are multiplied by alpha already
    white_is_zero: bool = False
    bits: int | None = None  # that a value has, if fewer than its type
    declared: tuple[float, float] | None = None  # the lowest and the highest value that the file names
    missing: float | None = None  # the value of pixels without data


def to_rgb(samples: Samples, reading: Reading = AS_IT_IS) -> Pixels:
    """RGB uint8 [H, W, 3]. Pixels without data are black; transparent ones are blended with white.

    Integers keep the upper 8 bits of the depth in which they lie: 8, 10, 12, 14 or 16 bits and so on, the smallest that
    holds the largest value. Floats from 0 to 1 are multiplied by 255; those from 0 to 255 are rounded.

    Raises:
        UnsupportedImageError: these rules do not apply, and neither the client nor the file names a range.
    """
    shades = _as_bytes(samples.colors, _range(samples, reading), samples)
    if samples.alpha is not None:
        alpha = Samples(samples.alpha[..., None], bits=samples.bits)
        shares = _as_bytes(alpha.colors, _usual_range(alpha) or (0.0, _MOST_OF_UNIT), alpha)
        _lay_over_white(shades, shares, samples.premultiplied)
    return shades if shades.shape[2] == 3 else np.repeat(shades, 3, axis=2)


def shown_bands(count: int, alphas: Sequence[int], reading: Reading) -> tuple[tuple[int, ...], int | None]:
    """Which of `count` bands are colours, one or three, and which is alpha, all counted from 0.

    Those that the client names; then none is alpha. Else the first three that are no alpha, or the first.

    Raises:
        InvalidOptionError: the client names a band that is not there.
    """
    chosen = reading.indices(count)
    if chosen is not None:
        return chosen, None
    colors = [band for band in range(count) if band not in alphas] or [0]
    return tuple(colors[:3] if len(colors) > 2 else colors[:1]), alphas[0] if alphas else None


def read_again(pixels: Pixels, reading: Reading) -> Pixels:
    """RGB `pixels` [H, W, 3] by `reading`: their three bands are red, green and blue.

    Raises:
        InvalidOptionError: a band beyond the third.
    """
    if reading == AS_IT_IS:
        return pixels
    colors, _ = shown_bands(3, [], reading)
    return to_rgb(Samples(pixels[..., colors]), reading)


def _range(samples: Samples, reading: Reading) -> tuple[float, float]:
    """The values of black and white."""
    found = reading.range or _usual_range(samples)
    if found is None:
        low, high = _extremes(samples)
        kind = samples.colors.dtype.name
        raise UnsupportedImageError(
            f"the image's {kind} values lie between {low:g} and {high:g}, and which of them are black and white is not"
            f" known; say so in the field range, for instance range={low:g},{max(high, low + 1):g}"
        )
    return found


def _usual_range(samples: Samples) -> tuple[float, float] | None:
    """The values of black and white by the usual rules; None where they say nothing."""
    kind = samples.colors.dtype
    if samples.bits is not None:
        return 0.0, 2.0**samples.bits - 1
    if kind == np.uint8:
        return 0.0, 255.0
    low, high = _extremes(samples)
    if kind.kind == "u" or (kind.kind == "i" and low >= 0):
        highest = max(high, samples.declared[1] if samples.declared else 0.0)
        most = 8 * kind.itemsize - (kind.kind == "i")
        return 0.0, 2.0 ** next((depth for depth in _DEPTHS if depth < most and highest < 2**depth), most) - 1
    if kind.kind == "f" and low >= 0 and high <= _MOST_OF_UNIT:
        return 0.0, _MOST_OF_UNIT
    if kind.kind == "f" and low >= 0 and _LEAST_OF_BYTES <= high <= _MOST_OF_BYTES:
        return 0.0, _MOST_OF_BYTES
    return samples.declared


def _extremes(samples: Samples) -> tuple[float, float]:
    """The lowest and the highest value, those of pixels without data aside; 0 and 0 where there is no other."""
    low, high = np.inf, -np.inf
    for rows in _blocks(samples.colors):
        block = samples.colors[rows]
        absent = _absent(block, samples.missing)
        present = block if absent is None else block[~absent]
        if present.size:
            low, high = min(low, float(present.min())), max(high, float(present.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def _as_bytes(values: Numbers, black_white: tuple[float, float], samples: Samples) -> Pixels:
    """`values` [H, W, C] as uint8, black as 0 and white as 255."""
    shades = np.empty(values.shape, np.uint8)
    for rows in _blocks(values):
        block = values[rows]
        absent = _absent(block, samples.missing)
        shade = _scaled(block if absent is None else np.where(absent, 0, block), *black_white)
        if samples.white_is_zero:
            np.subtract(255, shade, out=shade)
        if absent is not None:
            shade[absent] = 0
        shades[rows] = shade
    return shades


def _scaled(values: Numbers, black: float, white: float) -> Pixels:
    if black == 0 and white == 255 and values.dtype == np.uint8:
        return np.array(values)
    bits = np.log2(white + 1) if white > 0 else 0.0
    if black == 0 and bits >= 8 and bits == int(bits) and values.dtype.kind in "ui":
        # The upper 8 bits of a whole number of bits, as image programs take them. What lies beyond is clipped.
        most = min(int(white), np.iinfo(values.dtype).max)
        return np.asarray(values.clip(0, most) >> (int(bits) - 8), np.uint8)
    share = (values.astype(np.float64) - black) / (white - black)
    return np.asarray(np.rint(255 * share.clip(0, 1)), np.uint8)


def _absent(values: Numbers, missing: float | None) -> npt.NDArray[np.bool_] | None:
    """Where `values` holds no data; None where all of it is data."""
    absent = ~np.isfinite(values) if values.dtype.kind == "f" else None
    if missing is not None and np.isfinite(missing):
        named = values == missing
        absent = named if absent is None else absent | named
    return absent if absent is not None and absent.any() else None


def _lay_over_white(shades: Pixels, alpha: Pixels, premultiplied: bool) -> None:
    """Blend `shades` [H, W, C] with white by `alpha` [H, W, 1], in place."""
    for rows in _blocks(shades):
        share = alpha[rows].astype(np.uint16)
        color = 255 * shades[rows].astype(np.uint16) if premultiplied else shades[rows] * share
        blended = (np.minimum(color, 255 * share) + 255 * (255 - share) + 127) // 255
        shades[rows] = blended.astype(np.uint8)


def _blocks(values: Numbers) -> Iterator[slice]:
    """Slices of rows with about `_BLOCK` values each."""
    height = max(1, _BLOCK // max(1, values[:1].size))
    return (slice(start, start + height) for start in range(0, values.shape[0], height))
