"""TIFF and BigTIFF: the picture among those in the file, decoded by Pillow or read as bands of numbers."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from lseg_serve.segmenter.errors import InvalidImageError, UnsupportedImageError
from lseg_serve.segmenter.preprocessing.decoding.bands import (
    AS_IT_IS,
    Reading,
    Samples,
    read_again,
    shown_bands,
    to_rgb,
)
from lseg_serve.segmenter.preprocessing.decoding.color import pixels_as_srgb
from lseg_serve.segmenter.preprocessing.decoding.orientation import upright
from lseg_serve.segmenter.preprocessing.decoding.pillow import DAMAGED, load, loaded
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels, check_size
from lseg_serve.segmenter.preprocessing.decoding.refusals import DEVELOP, Refusal
from lseg_serve.segmenter.preprocessing.decoding.tiff_directories import Directory, Tag, directories, rewritten
from lseg_serve.segmenter.preprocessing.decoding.tiff_samples import (
    BYTE_COMPRESSIONS,
    Layout,
    check_memory,
    check_not_sparse,
    layout_of,
    readable,
    samples,
)

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _YCBCR, _MOSAIC, _LINEAR_RAW = 0, 1, 2, 6, 32803, 34892
_PHOTOMETRICS = {_WHITE_IS_ZERO: "WhiteIsZero", _BLACK_IS_ZERO: "BlackIsZero", _RGB: "RGB", 3: "palette", 4: "mask"} | {
    5: "CMYK",
    6: "YCbCr",
    8: "CIELab",
    9: "ICCLab",
    32844: "LogL",
    32845: "LogLuv",
}
_COMPRESSIONS = (
    BYTE_COMPRESSIONS
    | {2: "CCITT", 3: "CCITT", 4: "CCITT", 6: "old JPEG", 7: "JPEG"}
    | {
        33003: "JPEG 2000",
        33005: "JPEG 2000",
        34661: "JBIG",
        34712: "JPEG 2000",
        34887: "LERC",
        50001: "WebP",
        50002: "JPEG XL",
        52546: "JPEG XL",
    }
)
_UNCOMPRESSED = 1
_COMPRESSIONS_OF_PILLOW = {*BYTE_COMPRESSIONS, 2, 3, 4, 6, 7, 32771}
_PREMULTIPLIED, _ALPHA = 1, 2  # kinds of extra samples
# Parts of a picture may share their bytes, such as tiles that are all white. But decoding a small file must not cost as
# much as a large one: a part can hold very many codes without a pixel.
_SHARED_BYTES = 16_000_000


def decode_tiff(data: bytes, max_pixels: int, reading: Reading = AS_IT_IS) -> Pixels:
    """The picture of a TIFF file, upright by its orientation, as RGB uint8 [H, W, 3].

    Of several pages it is the first that is no thumbnail, level of a pyramid or mask.

    Raises:
        UnsupportedImageError: a camera's raw file, or a layout that is not served.
        ImageTooLargeError: more than `max_pixels` pixels, or too much memory for its samples.
        InvalidImageError: truncated or damaged.
        InvalidOptionError: `reading` names a band that the image has not.
    """
    directory = _picture(data)
    layout = layout_of(directory)
    check_size(layout.width, layout.height, max_pixels)
    check_memory(layout, max_pixels)
    _check_parts(directory)
    for_pillow = _is_for_pillow(directory, layout)
    if _has_numbers(directory, layout) and not (for_pillow and reading == AS_IT_IS):
        found = _samples(directory, layout, reading)
        pixels = to_rgb(found, reading)
        if reading == AS_IT_IS:  # a profile is for the picture's own colours
            mode = "RGB" if found.colors.shape[2] == 3 else "L"
            pixels = pixels_as_srgb(pixels, directory.raw(Tag.ICC_PROFILE), mode)
    elif for_pillow:
        pixels = read_again(_by_pillow(directory, layout), reading)
    else:
        raise _unsupported(directory, layout)
    return upright(pixels, _orientation(directory))


def _picture(data: bytes) -> Directory:
    """The directory of the picture itself."""
    found = directories(data)
    if data[8:10] == b"CR" or any(_photometric(each) in (_MOSAIC, _LINEAR_RAW) for each in found):
        kind = "DNG" if any(Tag.DNG_VERSION in each.places for each in found) else _raw_kind(found[0])
        raise UnsupportedImageError(Refusal(f"a camera raw file{kind and f' ({kind})'}", DEVELOP).message)
    whole = [each for each in found if not each.reduced]
    if not whole:
        return max(found, key=lambda each: each.area)
    # A picture inside another (SubIFD) that is larger than it is the real one, of which that is a preview.
    inside = [each for each in whole if each.parent is not None and each.parent is whole[0]]
    return max([whole[0], *inside], key=lambda each: each.area)


def _raw_kind(first: Directory) -> str:
    """What the camera's maker calls its raw files; empty where that is not known."""
    maker = first.raw(Tag.MAKE).decode("ascii", "ignore").strip("\0 ").upper()
    kinds = {"NIKON": "NEF", "SONY": "ARW", "CANON": "CR2", "PENTAX": "PEF", "SAMSUNG": "SRW"}
    return next((kind for name, kind in kinds.items() if maker.startswith(name)), "")


def _photometric(directory: Directory) -> int:
    """How samples mean colours. Where the tag is missing, as Pillow takes it, but of three bands RGB."""
    return directory.number(Tag.PHOTOMETRIC, _RGB if directory.number(Tag.SAMPLES, 1) > 2 else _WHITE_IS_ZERO)


def _orientation(directory: Directory) -> int:
    """Of the picture, or of the one that it is inside."""
    own = directory.number(Tag.ORIENTATION, 0)
    return own or (_orientation(directory.parent) if directory.parent else 1)


def _check_parts(directory: Directory) -> None:
    """Refuse a picture whose strips or tiles lie upon each other too often."""
    tag = Tag.TILE_BYTES if Tag.TILE_BYTES in directory.places else Tag.STRIP_BYTES
    lengths = directory.whole_numbers(tag).astype(np.float64)
    compressed = directory.number(Tag.COMPRESSION, 1) != _UNCOMPRESSED
    if compressed and lengths.sum() > 2 * len(directory.data) + _SHARED_BYTES:
        raise InvalidImageError(
            f"the TIFF image is truncated or damaged: its parts take {lengths.sum():.0f} bytes, the file"
            f" {len(directory.data)}"
        )


def _is_for_pillow(directory: Directory, layout: Layout) -> bool:
    """Whether Pillow knows the picture's layout and reads it right."""
    photometric, compression = _photometric(directory), directory.number(Tag.COMPRESSION, 1)
    if compression not in _COMPRESSIONS_OF_PILLOW:
        return False
    if compression in BYTE_COMPRESSIONS and photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        bands, bits = ((3, 4), (8,)) if photometric == _RGB else ((1,), (1, 2, 4, 8))
        return layout.bits in bits and layout.kind == "u" and not layout.separate and layout.bands in bands
    # Colours that have fewer pixels than light are put together by JPEG alone.
    subsampling = directory.whole_numbers(Tag.YCBCR_SUBSAMPLING).tolist()
    return compression not in BYTE_COMPRESSIONS or photometric != _YCBCR or subsampling == [1, 1]


def _has_numbers(directory: Directory, layout: Layout) -> bool:
    """Whether the picture can be read as bands of numbers."""
    photometric = _photometric(directory)
    return photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB) and readable(
        layout, directory.number(Tag.COMPRESSION, 1)
    )


def _samples(directory: Directory, layout: Layout, reading: Reading) -> Samples:
    """The bands that are shown, and alpha where there is one and the client has chosen no bands."""
    extra = directory.whole_numbers(Tag.EXTRA_SAMPLES).tolist()[-layout.bands :]
    kinds = [0] * (layout.bands - len(extra)) + extra
    alphas = [band for band, kind in enumerate(kinds) if kind in (_PREMULTIPLIED, _ALPHA)]
    if not extra and _photometric(directory) == _RGB and layout.bands == 4:
        alphas = [3]  # the tag is missing, as Pillow takes it
    shown, alpha = shown_bands(layout.bands, alphas, reading)
    numbers = samples(directory, layout, shown if alpha is None else (*shown, alpha))
    return Samples(
        colors=numbers[..., : len(shown)],
        alpha=None if alpha is None else numbers[..., -1],
        premultiplied=alpha is not None and kinds[alpha] == _PREMULTIPLIED,
        white_is_zero=_photometric(directory) == _WHITE_IS_ZERO,
        bits=layout.bits if layout.packed else None,
        declared=_declared(directory),
        missing=_missing(directory),
    )


def _declared(directory: Directory) -> tuple[float, float] | None:
    """The lowest and the highest value that the file names."""
    for tags in ((Tag.LOWEST_SAMPLE, Tag.HIGHEST_SAMPLE), (Tag.LOWEST, Tag.HIGHEST)):
        lowest, highest = (directory.numbers(tag).astype(np.float64) for tag in tags)
        if highest.size:
            low, high = float(lowest.min()) if lowest.size else 0.0, float(highest.max())
            return (low, high) if -np.inf < low < high < np.inf else None
    return None


def _missing(directory: Directory) -> float | None:
    """The value of pixels without data, which GDAL writes as text."""
    try:
        return float(directory.raw(Tag.NO_DATA)[:64].strip(b"\0 "))
    except ValueError:
        return None


def _by_pillow(directory: Directory, layout: Layout) -> Pixels:
    """The picture, of a layout that Pillow knows."""
    if not layout.separate:
        check_not_sparse(directory.whole_numbers(Tag.TILE_BYTES if layout.tile else Tag.STRIP_BYTES))
    try:
        image = Image.open(io.BytesIO(rewritten(directory, {})), formats=("TIFF",))
    except (UnidentifiedImageError, KeyError) as error:
        raise _unsupported(directory, layout) from error
    except DAMAGED as error:
        raise InvalidImageError(f"the TIFF image is truncated or damaged: {error}") from error
    return _from_lab(image) if image.mode == "LAB" else loaded(image)


def _unsupported(directory: Directory, layout: Layout) -> UnsupportedImageError:
    compression, photometric = directory.number(Tag.COMPRESSION, 1), _photometric(directory)
    return UnsupportedImageError(
        f"a TIFF with {layout.name}, {_PHOTOMETRICS.get(photometric, f'photometric {photometric}')},"
        f" {_COMPRESSIONS.get(compression, f'compression {compression}')}"
        f"{', band by band' if layout.separate else ''} is not served"
    )


def _from_lab(image: Image.Image) -> Pixels:
    """RGB of a picture in CIELab, which Pillow converts by profiles only."""
    load(image)
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB")))
