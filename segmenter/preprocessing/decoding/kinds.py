"""Which kind of file the bytes are, told by how they begin, and what to say of kinds that are not served."""

from __future__ import annotations

from lseg_serve.segmenter.errors import UnsupportedImageError
from lseg_serve.segmenter.preprocessing.decoding.refusals import REFUSED, Refusal
from lseg_serve.segmenter.preprocessing.decoding.texts import text_kind

_SIGNATURES = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",
    b"MM\0*",
    b"8BPS\0\1",
    b"\0\0\1\0",
)

_HEIF_BRANDS = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1")
)
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
_MOST_BRANDS = 64
_BRANDS = 12  # bytes up to the end of the first
_JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_JPEG_2000 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_ICON = (b"\0\0\1\0", b"\0\0\2\0")
_PHOTOSHOP = b"8BPS\0\1"
# A Targa file has no signature. Its header is 18 bytes long: how long a comment is, whether there are palette colours,
# the type, first and number of palette colours, their bits, the origin, width, height, bits of a pixel, a descriptor.
_TARGA_HEADER = 18
_TARGA_BITS = {1: (8,), 2: (16, 24, 32), 3: (8, 16), 9: (8,), 10: (16, 24, 32), 11: (8, 16)}


def refuse_by_name(data: bytes) -> None:
    """Refuse a kind of file that is known and not served, and say what it is and what to do.

    Raises:
        UnsupportedImageError: `data` is of such a kind.
    """
    found = next((refusal for refusal in REFUSED if refusal.matches(data)), None) or _refused_container(data)
    if found is not None:
        raise UnsupportedImageError(found.message)


def refuse_text(data: bytes) -> None:
    """Refuse a text, and say what it is: a web page, a drawing, an image in base64, an address.

    Raises:
        UnsupportedImageError: `data` is text.
    """
    if (found := text_kind(data)) is not None:
        raise UnsupportedImageError(found.message)


def begins_as_image(data: bytes) -> bool:
    """Whether `data` begins as an image file that is served: if it cannot be opened, it is damaged, not no image."""
    return data.startswith(_SIGNATURES) or (data[:4], data[8:12]) == (b"RIFF", b"WEBP") or is_avif(data)


def is_avif(data: bytes) -> bool:
    """Whether these are pictures in AVIF."""
    return bool(_AVIF_BRANDS & _brands(data))


def is_jpeg(data: bytes) -> bool:
    """Whether this is JPEG, or several of them (MPO)."""
    return data.startswith(b"\xff\xd8\xff")


def is_png(data: bytes) -> bool:
    """Whether this is PNG."""
    return data.startswith(b"\x89PNG\r\n\x1a\n")


def is_heif(data: bytes) -> bool:
    """Whether these are pictures in HEIF, and none in AVIF, which is HEIF with another codec."""
    return bool(_HEIF_BRANDS & _brands(data)) and not is_avif(data)


def is_jpeg_xl(data: bytes) -> bool:
    """Whether this is JPEG XL, bare or in a container."""
    return data.startswith(_JPEG_XL)


def is_jpeg_2000(data: bytes) -> bool:
    """Whether this is JPEG 2000, bare or in a container."""
    return data.startswith(_JPEG_2000)


def is_icon(data: bytes) -> bool:
    """Whether this is a Windows icon or cursor."""
    return data.startswith(_ICON)


def is_photoshop(data: bytes) -> bool:
    """Whether this is a Photoshop file, and no large one (PSB)."""
    return data.startswith(_PHOTOSHOP)


def is_targa(data: bytes) -> bool:
    """Whether all fields of a Targa header fit together. Cursors begin as some of these files do, but have an entry."""
    if len(data) < _TARGA_HEADER:
        return False
    has_palette, kind, bits, descriptor = data[1], data[2], data[16], data[17]
    palette_fits = data[7] in (16, 24, 32) if has_palette else data[3:8] == bytes(5)
    return (
        has_palette == (kind in (1, 9))
        and palette_fits
        and bits in _TARGA_BITS.get(kind, ())
        and descriptor < 0x40
        and 0 not in (int.from_bytes(data[12:14], "little"), int.from_bytes(data[14:16], "little"))
    )


def _brands(data: bytes) -> frozenset[bytes]:
    """The brands of a file of the family of MP4, its own and those that it is compatible with; none of others."""
    if data[4:8] != b"ftyp" or len(data) < _BRANDS:
        return frozenset()
    end = min(int.from_bytes(data[:4], "big"), len(data), 16 + 4 * _MOST_BRANDS)
    return frozenset((data[8:12], *(data[place : place + 4] for place in range(16, end - 3, 4))))


def _refused_container(data: bytes) -> Refusal | None:
    """What a file of the family of MP4 is, unless it holds pictures: a camera raw file or a video."""
    brands = _brands(data)
    if b"crx " in brands:
        return Refusal("a camera raw file (CR3)", "export it as JPEG or 16-bit TIFF first")
    if brands and not brands & (_HEIF_BRANDS | _AVIF_BRANDS | {b"jp2 ", b"jpx ", b"jxl "}):
        return Refusal("a video (MP4 or MOV)", "send a single frame, as PNG or JPEG")
    return None
