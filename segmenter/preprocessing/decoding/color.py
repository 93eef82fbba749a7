"""Colours as a browser shows them: what a colour profile describes becomes sRGB, which the network was trained on."""

from __future__ import annotations

import io
from functools import lru_cache
from itertools import product
from typing import TypeGuard

import numpy as np
from PIL import Image, ImageCms

from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels

# The colour spaces of ICC profiles (ICC.1, 7.2.6) with the modes of Pillow whose pixels they may describe.
_MODES = {"RGB": ("RGB", "L"), "GRAY": ("L",), "CMYK": ("CMYK",), "Lab": ("LAB",)}
_LARGEST_PROFILE = 8_000_000  # bytes; those of printers have 0.5 to 3 MB
_KEPT_TRANSFORMS = 16
# Profiles that say sRGB in other words (rounded primaries, a table for the curve) differ by so many levels of 256.
_SAME = 3
_STEPS = (0, 32, 64, 96, 128, 160, 192, 224, 255)


def as_srgb(image: Image.Image, profile: object = None) -> Image.Image:
    """`image` (RGB, L, CMYK or LAB, without alpha) in sRGB, as RGB or, where it is so already, as it is.

    A profile that is broken, or that describes another kind of pixels, is ignored, as browsers do.

    Args:
        image: the pixels, as they are in the file.
        profile: the bytes of the file's ICC profile; anything else stands for none.
    """
    transform = _transform(profile, image.mode) if _is_usable(profile) else None
    if transform is None:
        return image
    return transform.apply(image if image.mode == transform.input_mode else image.convert("RGB"))


def pixels_as_srgb(pixels: Pixels, profile: object, mode: str) -> Pixels:
    """RGB `pixels` [H, W, 3] in sRGB; the same array where they are so already. Of mode "L" all channels are equal."""
    if not _is_usable(profile) or _transform(profile, mode) is None:
        return pixels
    return np.asarray(as_srgb(Image.fromarray(pixels if mode == "RGB" else pixels[..., 0]), profile))


def _is_usable(profile: object) -> TypeGuard[bytes]:
    """Whether this may be a profile. One that is too large must not even be a key of the cache."""
    return isinstance(profile, bytes) and 0 < len(profile) <= _LARGEST_PROFILE


@lru_cache(_KEPT_TRANSFORMS)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """What brings pixels of `mode` to sRGB; None where nothing is to be done or can be."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if mode not in _MODES.get(space, ()):
            return None
        mode = "RGB" if space == "RGB" else mode
        # Browsers use the perceptual intent; for profiles without tables (cameras, screens) all intents are one.
        transform = ImageCms.buildTransform(
            source, ImageCms.createProfile("sRGB"), mode, "RGB", ImageCms.Intent.PERCEPTUAL
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return None if mode == "RGB" and _changes_nothing(transform) else transform


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether the colours of a lattice over all of RGB stay as they are."""
    lattice = np.array(list(product(_STEPS, repeat=3)), np.uint8)[None]
    changed = np.asarray(transform.apply(Image.fromarray(lattice)))
    return bool(np.abs(changed.astype(int) - lattice).max() <= _SAME)
