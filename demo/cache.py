"""Training scenes, drawn once by all cores and kept at the sizes the network sees, so that an epoch only reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from lseg_serve.demo.preset import BUCKETS, half_resolution
from lseg_serve.demo.scenes import LARGEST, SMALLEST, Scene, draw_scene
from lseg_serve.segmenter import Bucket, choose_bucket

Pixels = npt.NDArray[np.uint8]

# Every training seed lies below, every test seed from here on.
FIRST_TEST_SEED = 1_000_000

# Geometric mean of the sides in pixels, and the factor between them: the sizes that people send and that are cheap to
# draw.
_SIDES = (96, 520)
_STRETCH = 0.6
_SIZE_STREAM = 7


@dataclass(frozen=True)
class Shelf:
    """All scenes of one bucket: images uint8 [N, H, W, 3], classes and colours uint8 [N, H/2, W/2]."""

    images: Pixels
    classes: Pixels
    colours: Pixels

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class _Slot:
    seed: int
    size: tuple[int, int]  # width, height as drawn
    bucket: int
    row: int


def open_cache(folder: Path, count: int, workers: int | None = None) -> list[Shelf]:
    """The scenes of the seeds 0..count-1, one shelf for each bucket. They are drawn into `folder` if it lacks them.

    `workers` processes draw; None: as many as there are cores.

    Raises:
        ValueError: a count that would reach the test seeds.
    """
    if not 0 < count <= FIRST_TEST_SEED:
        raise ValueError(f"{count} training scenes; accepted: 1 to {FIRST_TEST_SEED}, where the test seeds begin")
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / f"{count}.done"
    slots = _slots(count)
    mode: Literal["r", "w+"] = "r" if done.exists() else "w+"
    shelves = [
        _shelf(folder, count, bucket, sum(slot.bucket == index for slot in slots), mode)
        for index, bucket in enumerate(BUCKETS)
    ]
    if not done.exists():
        for slot, fitted in tqdm(_drawn(slots, workers), total=count, desc="drawing", unit="scene", mininterval=5):
            for kept, values in zip(_arrays(shelves[slot.bucket]), fitted, strict=True):
                kept[slot.row] = values
        done.touch()
    return shelves


def _slots(count: int) -> list[_Slot]:
    filled = [0] * len(BUCKETS)
    slots = []
    for seed in range(count):
        width, height = scene_size(seed)
        index = BUCKETS.index(choose_bucket(BUCKETS, height, width))
        slots.append(_Slot(seed, (width, height), index, filled[index]))
        filled[index] += 1
    return slots


def scene_size(seed: int) -> tuple[int, int]:
    """Width and height in pixels of the scene of `seed`, in training and in test."""
    rng = np.random.default_rng((_SIZE_STREAM, seed))
    side = math.exp(rng.uniform(math.log(_SIDES[0]), math.log(_SIDES[1])))
    stretch = math.exp(rng.uniform(-_STRETCH, _STRETCH))
    width, height = (int(np.clip(value, SMALLEST, LARGEST)) for value in (side * stretch, side / stretch))
    return width, height


def _shelf(folder: Path, count: int, bucket: Bucket, rows: int, mode: Literal["r", "w+"]) -> Shelf:
    half = (bucket.height // 2, bucket.width // 2)
    shapes = {"images": (bucket.height, bucket.width, 3), "classes": half, "colours": half}
    return Shelf(
        **{
            name: np.lib.format.open_memmap(
                folder / f"{count}-{bucket}-{name}.npy",
                mode,
                dtype=np.uint8,
                shape=(rows, *shape),
            )
            for name, shape in shapes.items()
        }
    )


def _arrays(shelf: Shelf) -> tuple[Pixels, Pixels, Pixels]:
    return shelf.images, shelf.classes, shelf.colours


def _drawn(slots: Iterable[_Slot], workers: int | None) -> Iterator[tuple[_Slot, tuple[Pixels, Pixels, Pixels]]]:
    # Spawned, not forked: a fork after torch has started its threads may hang.
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from pool.map(_draw, slots, chunksize=32)


def _draw(slot: _Slot) -> tuple[_Slot, tuple[Pixels, Pixels, Pixels]]:
    return slot, fitted(draw_scene(slot.seed, slot.size, held_out="exclude"), BUCKETS[slot.bucket])


def fitted(scene: Scene, bucket: Bucket) -> tuple[Pixels, Pixels, Pixels]:
    """A scene as the network sees it: image [H, W, 3] stretched as in serving, classes and colours [H/2, W/2].

    The truth is that of the pixel nearest to where the network's score lies, so no two classes are ever mixed.
    """
    resized = Image.fromarray(scene.image).resize((bucket.width, bucket.height), Image.Resampling.BILINEAR)
    rows = _nearest(bucket.height, scene.classes.shape[0])
    columns = _nearest(bucket.width, scene.classes.shape[1])
    return np.asarray(resized), scene.classes[np.ix_(rows, columns)], scene.colours[np.ix_(rows, columns)]


def _nearest(side: int, length: int) -> npt.NDArray[np.int64]:
    """For each score along a bucket's side, the nearest of the image's `length` pixels."""
    centres = (half_resolution(side).numpy() + 0.5) * length / side
    return np.clip(centres.astype(np.int64), 0, length - 1)
