"""The numbers of a TIFF's pixels, in any number of bands, bits and types.

Pillow knows a fixed list of layouts, but its libtiff takes apart any TIFF's compression. So the directory is written
anew as that of a grey image, each of whose pixels is one byte of a row. What libtiff then decodes are the bytes of the
samples, and NumPy makes numbers of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lseg_serve.segmenter.errors import ImageTooLargeError, InvalidImageError, UnsupportedImageError
from lseg_serve.segmenter.preprocessing.decoding.bands import Numbers
from lseg_serve.segmenter.preprocessing.decoding.pillow import load, opened
from lseg_serve.segmenter.preprocessing.decoding.tiff_directories import Directory, Order, Tag, rewritten

# Those whose output are the bytes of the samples, whatever these mean, and that Pillow's libtiff has.
BYTE_COMPRESSIONS = {1: "none", 5: "LZW", 8: "deflate", 32773: "PackBits", 32946: "deflate", 34925: "LZMA"} | {
    50000: "Zstandard"
}
_WITH_PREDICTOR = (5, 8, 32946, 34925, 50000)  # with others libtiff ignores it and tifffile does not
SAMPLE_TYPES = {1: "u", 2: "i", 3: "f"}
_DIFFERENCE, _FLOAT_DIFFERENCE = 2, 3  # predictors: TIFF 6.0, section 14, and Adobe's technical note 3
_SEPARATE = 2  # of the planar configuration: each band by itself
_ROWS = 64  # at a time
# Decoded samples take this much memory at most, for each pixel of the largest image that is accepted.
_MOST_BYTES_PER_PIXEL = 8


@dataclass(frozen=True)
class Layout:
    """How the samples of a TIFF lie in its bytes."""

    width: int
    height: int
    bands: int
    bits: int
    kind: str  # u, i or f
    order: Order
    separate: bool
    predictor: int
    tile: tuple[int, int] | None  # height and width; None where the image is stored in strips of whole rows

    @property
    def depth(self) -> int:
        """Samples of a pixel that lie together."""
        return 1 if self.separate else self.bands

    @property
    def packed(self) -> bool:
        """Whether samples begin within a byte."""
        return self.bits % 8 != 0

    @property
    def container(self) -> int:
        """Bits of the type of numbers that holds a sample."""
        return next((bits for bits in (8, 16, 32) if bits >= self.bits), 64)

    @property
    def group(self) -> int:
        """Pixels of a row that are coded together: a tile's width, or the whole row."""
        return self.tile[1] if self.tile else self.width

    @property
    def groups(self) -> int:
        """Number of groups in a row."""
        return -(-self.width // self.group)

    @property
    def group_bytes(self) -> int:
        """Bytes of a group, the last of which is filled up."""
        return -(-self.group * self.depth * self.bits // 8)

    @property
    def name(self) -> str:
        """What the layout is, in words."""
        kind = {"u": "uint", "i": "int", "f": "float"}.get(self.kind, "unknown type")
        return f"{self.bands} band{'s' * (self.bands != 1)} of {self.bits}-bit {kind}"


def layout_of(directory: Directory) -> Layout:
    """The layout that the tags of `directory` describe.

    Raises:
        InvalidImageError: it has no size.
        UnsupportedImageError: its bands differ from each other in bits or type.
    """
    width, height = directory.number(Tag.WIDTH, 0), directory.number(Tag.HEIGHT, 0)
    bands = directory.number(Tag.SAMPLES, 1)
    if min(width, height, bands) < 1:
        raise InvalidImageError(
            f"the TIFF image is truncated or damaged: its size is {width}x{height} with {bands} bands"
        )
    bits = set(directory.whole_numbers(Tag.BITS)[:bands].tolist()) or {1}
    kinds = set(directory.whole_numbers(Tag.SAMPLE_FORMAT)[:bands].tolist())
    if len(bits) > 1 or len(kinds) > 1:
        raise UnsupportedImageError(
            f"the TIFF's {bands} bands differ in bits ({sorted(bits)}) or type ({sorted(kinds)}); accepted: equal ones"
        )
    tile = (directory.number(Tag.TILE_HEIGHT, 0), directory.number(Tag.TILE_WIDTH, 0))
    return Layout(
        width=width,
        height=height,
        bands=bands,
        bits=bits.pop(),
        kind=SAMPLE_TYPES.get(kinds.pop() if kinds else 1, "?"),
        order=directory.order,
        separate=directory.number(Tag.PLANAR, 1) == _SEPARATE and bands > 1,
        predictor=directory.number(Tag.PREDICTOR, 1),
        tile=tile if min(tile) > 0 else None,
    )


def check_memory(layout: Layout, max_pixels: int) -> None:
    """Refuse what would take too much memory decoded.

    Raises:
        ImageTooLargeError: it would.
    """
    rows = max(layout.height, layout.tile[0]) if layout.tile else layout.height
    size = rows * layout.groups * layout.group_bytes * (layout.bands if layout.separate else 1)
    accepted = _MOST_BYTES_PER_PIXEL * max_pixels
    if size > accepted:
        raise ImageTooLargeError(
            f"the TIFF is {layout.width}x{layout.height} pixels with {layout.name}, {size / 1e6:.0f} MB decoded;"
            f" accepted: up to {accepted / 1e6:.0f} MB"
        )


def readable(layout: Layout, compression: int) -> bool:
    """Whether `samples` can read this layout."""
    whole = layout.bits in {"u": (8, 16, 32, 64), "i": (8, 16, 32, 64), "f": (16, 32, 64)}.get(layout.kind, ())
    odd = layout.kind == "u" and 0 < layout.bits < 16 and layout.predictor == 1
    float_ok = layout.predictor != _FLOAT_DIFFERENCE or layout.kind == "f"
    predictors = (1, 2, 3) if compression in _WITH_PREDICTOR else (1,)
    return compression in BYTE_COMPRESSIONS and (whole or odd) and layout.predictor in predictors and float_ok


def samples(directory: Directory, layout: Layout, bands: tuple[int, ...]) -> Numbers:
    """The samples of `bands`, counted from 0: [H, W, len(bands)].

    Raises:
        InvalidImageError: truncated or damaged.
    """
    kind = f"{layout.kind}{layout.container // 8}"
    found = np.empty((layout.height, layout.width, len(bands)), kind)
    planes = [(band, [0], slice(index, index + 1)) for index, band in enumerate(bands)]
    for plane, chosen, place in planes if layout.separate else [(0, list(bands), slice(None))]:
        for rows, block in _blocks(directory, layout, plane):
            found[rows, :, place] = block[..., chosen]
    return found


def _blocks(directory: Directory, layout: Layout, plane: int) -> Iterator[tuple[slice, Numbers]]:
    """The samples of `plane`, some rows at a time: [rows, W, depth]."""
    image = opened(_as_bytes(directory, layout, plane))
    load(image)
    for start in range(0, layout.height, _ROWS):
        rows = slice(start, min(start + _ROWS, layout.height))
        stored = np.asarray(image.crop((0, rows.start, image.width, rows.stop)))
        groups = stored.reshape(rows.stop - rows.start, layout.groups, layout.group_bytes)
        numbers = _numbers(groups, layout).reshape(len(groups), layout.groups * layout.group, layout.depth)
        yield rows, numbers[:, : layout.width]


def _as_bytes(directory: Directory, layout: Layout, plane: int) -> bytes:
    """The TIFF of one plane, in which each byte of a row is a grey pixel."""
    changes: dict[Tag, npt.ArrayLike | None] = {
        Tag.WIDTH: layout.groups * layout.group_bytes,
        Tag.HEIGHT: layout.height,
        Tag.BITS: 8,
        Tag.PHOTOMETRIC: 1,
        Tag.SAMPLES: 1,
    }
    dropped = (Tag.PLANAR, Tag.PREDICTOR, Tag.SAMPLE_FORMAT, Tag.EXTRA_SAMPLES, Tag.COLOR_MAP, Tag.ICC_PROFILE, Tag.XMP)
    changes.update(dict.fromkeys(dropped))
    if layout.tile is not None:
        height, offsets, lengths = layout.tile[0], Tag.TILE_OFFSETS, Tag.TILE_BYTES
        changes |= {Tag.TILE_WIDTH: layout.group_bytes, Tag.STRIP_OFFSETS: None, Tag.STRIP_BYTES: None}
        changes[Tag.ROWS_PER_STRIP] = None
    else:
        height = min(directory.number(Tag.ROWS_PER_STRIP, layout.height) or layout.height, layout.height)
        offsets, lengths = Tag.STRIP_OFFSETS, Tag.STRIP_BYTES
        changes[Tag.ROWS_PER_STRIP] = height
    count = -(-layout.height // height) * layout.groups
    for tag in (offsets, lengths):
        parts = directory.whole_numbers(tag)[plane * count : (plane + 1) * count]
        if tag == offsets and len(parts) < count:
            raise InvalidImageError(f"the TIFF image is truncated or damaged: {len(parts)} of {count} parts are named")
        if tag == lengths:
            check_not_sparse(parts)
        changes[tag] = parts if len(parts) == count else None
    return rewritten(directory, changes)


def check_not_sparse(lengths: npt.NDArray[np.integer]) -> None:
    """Refuse a picture some of whose strips or tiles, of `lengths` in bytes, are not there.

    Raises:
        UnsupportedImageError: it is one.
    """
    if lengths.any() and not lengths.all():
        raise UnsupportedImageError("a sparse TIFF, which leaves tiles out, is not served; write all of its tiles")


def _numbers(groups: npt.NDArray[np.uint8], layout: Layout) -> Numbers:
    """Numbers of stored bytes [rows, groups, bytes of a group]: [rows, groups, samples of a group]."""
    count = layout.group * layout.depth
    if layout.packed:
        return _unpacked(groups, count, layout)
    size = layout.bits // 8
    if layout.predictor == _FLOAT_DIFFERENCE:
        # The bytes of a row are sorted by their place in a number, the highest first, and stored as differences.
        sums = np.cumsum(groups.reshape(*groups.shape[:2], -1, layout.depth), axis=2, dtype=np.uint8)
        ordered = sums.reshape(*groups.shape[:2], size, count).swapaxes(2, 3)
        return np.ascontiguousarray(ordered).view(f">f{size}")[..., 0]
    stored = groups.view(f"{layout.order}u{size}").astype(f"u{size}", copy=False)
    if layout.predictor == _DIFFERENCE:
        pixels = stored.reshape(*groups.shape[:2], layout.group, layout.depth)
        stored = np.cumsum(pixels, axis=2, dtype=stored.dtype).reshape(stored.shape)
    return stored.view(f"{layout.kind}{size}")


def _unpacked(groups: npt.NDArray[np.uint8], count: int, layout: Layout) -> Numbers:
    """Numbers of up to 15 bits that lie without gaps, the highest bit first."""
    bits, container = layout.bits, layout.container
    separate = np.unpackbits(groups, axis=-1)[..., : count * bits].reshape(*groups.shape[:2], count, bits)
    filled = np.pad(separate, ((0, 0), (0, 0), (0, 0), (container - bits, 0)))
    return np.packbits(filled, axis=-1).view(f">u{container // 8}")[..., 0]
