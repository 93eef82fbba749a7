"""Things followed through a sequence: the embedding of a region in one frame finds it in the next.

    python examples/track.py --output track --what "red car"

The frames are drawn (`demo.posed`): two cars drive towards each other and pass. Words name the regions of the first
frame; no words are used afterwards. Each pixel of the next frame goes to the region whose mean embedding it is most
like, and of the pixels that go to the thing, the piece that is nearest to its last place is the thing. Its mean
embedding follows slowly. While it is hidden, it is looked for around its last place.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from lseg_serve.demo.posed import Camera, View, draw_views
from lseg_serve.demo.vocabulary import phrase_mask
from lseg_serve.embeddings.embeddings import unit_length
from lseg_serve.examples.source import Source, add_source, opened

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

_CAMERA = Camera((-3.4, -1.9, -1.0), focal=260.0)
_FRAMES, _STEP = 9, 0.45  # and the seconds between two
_WORDS = ("sky", "grass", "road", "house", "roof", "tree", "bus", "tent", "sheep", "red car", "blue car")
_SMALLEST = 40  # pixels of a piece
_MEMORY = 0.8  # of the embedding, the share that the next frame does not replace


@dataclass(frozen=True)
class Track:
    """A thing in one frame."""

    region: Bools  # [H, W]
    embedding: Floats  # [E], the mean of its pixels and of earlier frames', of unit length
    others: Floats  # [M, E], the mean of each other region of the first frame, of unit length

    @property
    def centre(self) -> tuple[float, float]:
        """Its middle: x and y in pixels."""
        rows, columns = np.nonzero(self.region)
        return float(columns.mean()), float(rows.mean())

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom, in pixels."""
        rows, columns = np.nonzero(self.region)
        return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def begin(pixels: Floats, mask: npt.NDArray[np.uint8], label: int) -> Track:
    """A track of the largest piece of `label` in `mask` [H, W], from the embeddings [E, H, W] of that frame.

    Raises:
        LookupError: no pixel has that label.
    """
    region = _largest(mask == label)
    others = [_mean(pixels, mask == one) for one in np.unique(mask) if one != label]
    return Track(region, _mean(pixels, region), np.stack(others))


def follow(track: Track, pixels: Floats) -> Track | None:
    """The same thing in the next frame, whose embeddings are `pixels` [E, H, W]; None where no piece of it is seen."""
    means = np.concatenate([track.embedding[None], track.others])
    fits = np.tensordot(means, pixels, axes=1).argmax(axis=0) == 0
    count, pieces, stats, centres = cv2.connectedComponentsWithStats(fits.astype(np.uint8), connectivity=4)
    large = [piece for piece in range(1, count) if stats[piece, cv2.CC_STAT_AREA] >= _SMALLEST]
    if not large:
        return None
    nearest = min(large, key=lambda piece: float(np.hypot(*(centres[piece] - track.centre))))
    region = np.asarray(pieces == nearest)
    mixed = _MEMORY * track.embedding + (1 - _MEMORY) * _mean(pixels, region)
    return Track(region, unit_length(mixed[None])[0], track.others)


def _mean(pixels: Floats, region: Bools) -> Floats:
    return np.asarray(unit_length(pixels[:, region].mean(axis=1)[None])[0], dtype=np.float32)


def overlap(first: Bools, second: Bools) -> float:
    """Intersection over union."""
    return float((first & second).sum() / (first | second).sum())


def frames() -> list[View]:
    """The sequence."""
    return [draw_views([_CAMERA], seconds=_STEP * number)[0] for number in range(_FRAMES)]


def run(source: Source, output: Path, what: str) -> list[float]:
    """Follow `what`, write a picture of all frames, and return the overlap with the truth in each."""
    words = source.embed_labels([what, *(other for other in _WORDS if other != what)])
    track: Track | None = None
    shown, shares = [], []
    for number, view in enumerate(frames()):
        found = source.embed(view.image)
        pixels = found.map()
        now = begin(pixels, found.segment(words), 0) if track is None else follow(track, pixels)
        truth = phrase_mask(what, view.classes, view.colours)
        shares.append(0.0 if now is None else overlap(now.region, truth))
        where = "hidden" if now is None else "at x = {:.0f}, y = {:.0f}".format(*now.centre)
        print(f"frame {number}: {what} {where}; overlap with the truth {shares[-1]:.0%}")
        shown.append(_framed(view, now))
        track = now or track  # where it is hidden, it is looked for around its last place
    _sheet(shown).save(output / "track.png")
    return shares


def _largest(region: Bools) -> Bools:
    """The largest piece of a region.

    Raises:
        LookupError: it is empty.
    """
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=4)
    if count < 2:
        raise LookupError("the thing is in no place of the first frame")
    return np.asarray(pieces == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])))


def _framed(view: View, track: Track | None) -> Image.Image:
    if track is None:
        return Image.fromarray(view.image)
    page = view.image.copy()
    page[track.region] = page[track.region] // 2 + np.array([0, 127, 127], dtype=np.uint8)
    picture = Image.fromarray(page)
    ImageDraw.Draw(picture).rectangle(track.box, outline="white")
    return picture


def _sheet(pictures: Sequence[Image.Image], columns: int = 3) -> Image.Image:
    width, height = pictures[0].size
    page = Image.new("RGB", (columns * width, -(-len(pictures) // columns) * height))
    for number, one in enumerate(pictures):
        page.paste(one, (number % columns * width, number // columns * height))
    return page


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("track"), help="folder (default: %(default)s)")
    parser.add_argument("--what", default="red car", help="what is followed (default: %(default)s)")
    add_source(parser)
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    with opened(options) as source:
        run(source, options.output, options.what)


if __name__ == "__main__":
    main()
