"""What is said of a region gives the region back: boxes, COCO's and Label Studio's encodings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from pycocotools import mask as coco

from lseg_serve.handler.formats.label_studio import label_studio_rle
from lseg_serve.handler.formats.outlines import coco_rle, coco_rle_of_box
from lseg_serve.handler.formats.polygons import polygons
from lseg_serve.handler.formats.regions import Region, find_regions
from lseg_serve.handler.formats.runs import Runs
from lseg_serve.segmenter import UNLABELLED
from tests.support.shapes import SHAPES, Bits, blobs, every_shape


def test_areas_and_boxes_are_those_of_numpy() -> None:
    mask = np.random.default_rng(0).choice(np.array([0, 1, 2, 4, UNLABELLED], np.uint8), (30, 44))
    mask[:, :7], mask[25:] = UNLABELLED, UNLABELLED
    mask[3, 9] = 5
    regions = find_regions(mask, 7)
    assert [region.index for region in regions] == list(range(7))
    for region in regions:
        rows, columns = np.nonzero(mask == region.index)
        assert region.area == len(rows)
        if len(rows):
            left, top = columns.min(), rows.min()
            assert region.box == (left, top, columns.max() - left + 1, rows.max() - top + 1)
        else:
            assert region.box is None
    assert regions[5] == Region(5, 1, (9, 3, 1, 1))
    assert regions[3] == Region(3, 0, None)


def test_a_region_in_every_corner_has_the_whole_image_as_its_box() -> None:
    mask = np.where(SHAPES["corners"], 0, UNLABELLED).astype(np.uint8)
    assert find_regions(mask, 1) == [Region(0, 4, (0, 0, 17, 12))]


def test_an_image_of_one_label_and_an_image_of_none() -> None:
    assert find_regions(np.zeros((2, 3), np.uint8), 1) == [Region(0, 6, (0, 0, 3, 2))]
    assert find_regions(np.full((2, 3), UNLABELLED, np.uint8), 1) == [Region(0, 0, None)]


def test_the_last_of_255_labels_is_no_unlabelled_pixel() -> None:
    mask = np.array([[254, UNLABELLED]], np.uint8)
    assert find_regions(mask, 255)[254] == Region(254, 1, (0, 0, 1, 1))


@every_shape
def test_runs_give_the_rle_of_the_pixels(bits: Bits) -> None:
    mask = np.where(bits, 3, np.where(np.indices(bits.shape)[0] % 2, 7, UNLABELLED)).astype(np.uint8)
    runs = Runs.of(mask)
    for index in (0, 3, 7):
        assert runs.coco_rle(index) == coco_rle(mask == index)


def test_runs_that_go_on_over_the_edge_of_a_band_are_one() -> None:
    """The bands in which a mask is compared have 4 megapixels; here that is 20 columns and a few more."""
    mask = np.zeros((200_000, 43), np.uint8)
    mask[5:, 19], mask[:, 20:30], mask[:7, 30], mask[-1, -1] = 1, 1, 1, 2
    runs = Runs.of(mask)
    assert len(runs.starts) == 4
    for index in range(3):
        assert runs.coco_rle(index) == coco_rle(mask == index)
    assert find_regions(mask, 3)[1:] == [
        Region(1, 199_995 + 10 * 200_000 + 7, (19, 0, 12, 200_000)),
        Region(2, 1, (42, 199_999, 1, 1)),
    ]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' decoder
@every_shape
def test_coco_tools_decode_the_run_lengths(bits: Bits) -> None:
    encoded = coco_rle(bits)
    assert encoded["size"] == list(bits.shape)
    counts = encoded["counts"]
    assert isinstance(counts, str)
    assert counts.isascii()
    np.testing.assert_array_equal(coco.decode({"size": encoded["size"], "counts": counts.encode()}), bits)
    assert coco.area({"size": encoded["size"], "counts": counts.encode()}) == bits.sum()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' decoder
@every_shape
def test_the_run_lengths_of_a_box_are_those_of_the_image(bits: Bits) -> None:
    rows, columns = np.flatnonzero(bits.any(axis=1)), np.flatnonzero(bits.any(axis=0))
    if len(rows):
        cut = bits[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert coco_rle_of_box(cut, int(columns[0]), int(rows[0]), *bits.shape) == coco_rle(bits)


class _BitReader:
    """Reads numbers from bytes, the highest bit first."""

    def __init__(self, content: bytes) -> None:
        self._number, self._left = int.from_bytes(content, "big"), 8 * len(content)

    def __call__(self, count: int) -> int:
        self._left -= count
        assert self._left >= 0, "read beyond the end"
        return self._number >> self._left & (1 << count) - 1

    @property
    def left(self) -> int:
        return self._left


def _decoded_label_studio(content: bytes) -> npt.NDArray[np.uint8]:
    """The values that Label Studio's front end reads (thi.ng/rle-pack).

    A head: 32 bits number of values, 5 bits word size less 1, 4 times 4 bits run size less 1. Then blocks: 1 bit
    whether one value repeats, 2 bits which run size, the run's length less 1 in that size, then one value or all.
    """
    read = _BitReader(content)
    total, word = read(32), read(5) + 1
    run_sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        repeats = read(1)
        length = read(run_sizes[read(2)]) + 1
        values.extend([read(word)] * length if repeats else [read(word) for _ in range(length)])
    assert len(values) == total
    assert 1 <= read.left <= 8  # only what fills the last byte, or a whole one, as the SDK has it
    return np.array(values, np.uint8)


SMALL_SHAPES = {name: bits for name, bits in SHAPES.items() if bits.size < 6_000}


@pytest.mark.parametrize("bits", SMALL_SHAPES.values(), ids=SMALL_SHAPES.keys())
def test_label_studio_reads_the_region_from_every_channel(bits: Bits) -> None:
    encoded = label_studio_rle(bits)
    assert all(isinstance(entry, int) and 0 <= entry <= 255 for entry in encoded)
    pixels = _decoded_label_studio(bytes(encoded)).reshape(*bits.shape, 4)
    for channel in range(4):
        np.testing.assert_array_equal(pixels[..., channel], np.where(bits, 255, 0))


def test_label_studio_reads_a_run_longer_than_one_block_holds() -> None:
    bits = SHAPES["more than a run can hold"].copy()
    bits[-1, -1] = False
    assert bits.size * 4 > 5 * 65_536
    pixels = _decoded_label_studio(bytes(label_studio_rle(bits))).reshape(*bits.shape, 4)
    np.testing.assert_array_equal(pixels[..., 3] == 255, bits)


@pytest.mark.parametrize(
    ("bits", "code"),
    [
        ([[1, 0], [0, 1]], [0, 0, 0, 16, 57, 27, 252, 127, 243, 128, 71, 254]),
        ([[0, 0, 1]], [0, 0, 0, 12, 57, 27, 252, 224, 17, 255, 128]),
        ([[1] * 16386 + [0]], [0, 1, 0, 12, 57, 27, 255, 255, 255, 255, 224, 0, 255, 241, 128, 0]),
        ([[1] * 5], [0, 0, 0, 20, 57, 27, 254, 19, 255, 0]),
    ],
    ids=["corners", "a line", "what is left of a long run", "a whole number of bytes"],
)
def test_the_code_is_what_label_studios_sdk_writes(bits: list[list[int]], code: list[int]) -> None:
    """Written by `brush.mask2rle` of label-studio-sdk 2.1.2."""
    assert label_studio_rle(np.array(bits, dtype=bool)) == code


@pytest.mark.parametrize("encode", [coco_rle, polygons, label_studio_rle])
def test_a_region_need_not_be_contiguous_in_memory(encode: Callable[[Bits], object]) -> None:
    bits = blobs()
    assert encode(bits[:, ::2]) == encode(np.ascontiguousarray(bits[:, ::2]))
    assert encode(bits.T) == encode(np.ascontiguousarray(bits.T))
