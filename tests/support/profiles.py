"""ICC profiles made by hand (ICC.1:2010), with the colours that they stand for by the formulas of the standards."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# X, Y, Z of red, green and blue, adapted to D50 as in ICC profiles; a column for each.
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
DISPLAY_P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
ADOBE_RGB = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
_D50 = np.array([0.9642, 1.0, 0.8249])


def srgb_to_light(values: Floats) -> Floats:
    """IEC 61966-2-1: sRGB values of 0 to 1 to linear light."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def light_to_srgb(light: Floats) -> Floats:
    """IEC 61966-2-1: linear light to sRGB values of 0 to 255."""
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def gamma(exponent: float) -> Callable[[Floats], Floats]:
    """The curve of a screen: light is the value to the power of `exponent`."""
    return lambda values: values**exponent


def shown(pixels: npt.NDArray[np.uint8], primaries: Floats, curve: Callable[[Floats], Floats]) -> Floats:
    """What RGB `pixels` [..., 3] of a screen look like in sRGB, 0 to 255."""
    return light_to_srgb(curve(pixels / 255) @ primaries.T @ np.linalg.inv(SRGB).T)


def rgb_profile(primaries: Floats, curve: Callable[[Floats], Floats]) -> bytes:
    """A profile of a screen: three primaries and a curve."""
    tags = {name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries.T, strict=True)}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(curve)))


def grey_profile(curve: Callable[[Floats], Floats]) -> bytes:
    """A profile of grey: a curve."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(curve)})


def cmyk_profile(corners: Sequence[tuple[int, int, int]]) -> bytes:
    """A profile of a printer, whose inks are all or nothing: for each of the 16 mixes L, a and b as 8-bit numbers.

    The mixes are in the order in which binary numbers count, cyan first.
    """
    same = bytes(range(256))
    identity = struct.pack(">9i", *(65536 if place in (0, 4, 8) else 0 for place in range(9)))
    table = (
        b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + same * 4 + bytes(np.ravel(corners).tolist()) + same * 3
    )
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})


def lab_to_srgb(lab: Sequence[float]) -> Floats:
    """CIE L*, a*, b* of D50 in sRGB, 0 to 255."""
    lightness, a, b = lab
    middle = (lightness + 16) / 116
    roots = np.array([middle + a / 500, middle, middle - b / 200])
    xyz = _D50 * np.where(roots > 6 / 29, roots**3, (roots - 4 / 29) * 3 * (6 / 29) ** 2)
    return light_to_srgb(np.linalg.inv(SRGB) @ xyz)


def _profile(device: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = b"made by hand"
    tags = {
        b"desc": b"desc" + struct.pack(">4xI", len(text) + 1) + text + bytes(1 + 12 + 67),
        b"cprt": b"text" + bytes(4) + text + b"\0",
        b"wtpt": _xyz(_D50),
        **tags,
    }
    body, table, start = b"", struct.pack(">I", len(tags)), 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = start + len(body)
    head = struct.pack(">I4xI4s4s4s", size, 0x02400000, device, space, connection)
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz(_D50)[8:]
    return head + bytes(128 - len(head)) + table + body


def _xyz(values: Floats) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def _curve(curve: Callable[[Floats], Floats]) -> bytes:
    table = np.round(65535 * curve(np.linspace(0, 1, 1024))).astype(">u2")
    return b"curv" + struct.pack(">4xI", len(table)) + table.tobytes()
