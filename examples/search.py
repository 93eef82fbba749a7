"""A folder of images, searched by words: one row for each region in a table of vectors, the best rows as a picture.

    python examples/search.py draw scenes                       # scenes to search, where one has no images
    python examples/search.py index scenes --table regions.duckdb
    python examples/search.py find "red car" --table regions.duckdb --output found.png

A region is a connected piece of one label's pixels. Its embedding is the mean over its pixels, so it can be found by
words that were no labels. The table is one file of DuckDB, which compares vectors of a fixed length in SQL.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from lseg_serve.demo.scenes import draw_scene
from lseg_serve.demo.vocabulary import LABELS
from lseg_serve.embeddings import Embeddings
from lseg_serve.embeddings.embeddings import unit_length
from lseg_serve.examples.source import Source, add_source, opened

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Floats = npt.NDArray[np.float32]

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_LEAST_SHARE = 0.004  # of an image's pixels; smaller pieces are no regions
_MOST_PIXELS = 200  # of a region, evenly among all, that its mean is taken of
_FIRST_SEED = 7_000_000  # of scenes that neither training nor tests draw
_TILE, _COLUMNS = (240, 180), 4


@dataclass(frozen=True)
class Region:
    """A piece of an image."""

    image: str
    label: str
    box: tuple[int, int, int, int]  # left, top, width and height in pixels
    share: float  # of the image's pixels
    embedding: Floats  # [E], of unit length


def regions_of(name: str, found: Embeddings, labels: Sequence[str], text: Floats) -> Iterator[Region]:
    """The regions of an image with the embeddings `found`, by `labels` with the embeddings `text` [K, E]."""
    mask = found.segment(text)
    for index in np.unique(mask).tolist():
        own = (mask == index).astype(np.uint8)
        count, pieces, stats, _ = cv2.connectedComponentsWithStats(own, connectivity=4)
        for piece in range(1, count):
            left, top, width, height, area = stats[piece].tolist()
            if area < _LEAST_SHARE * mask.size:
                continue
            places = np.argwhere(pieces[top : top + height, left : left + width] == piece)[:, ::-1] + (left, top)
            vectors = found.at(places[:: max(1, len(places) // _MOST_PIXELS)])
            mean = unit_length(vectors.mean(axis=0)[None])[0]
            yield Region(name, labels[index], (left, top, width, height), area / mask.size, mean)


class Table:
    """Regions in a file of DuckDB. Close it, or use it in a `with` statement."""

    def __init__(self, path: Path) -> None:
        self._connection = _connected(path)

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def fill(self, regions: Sequence[Region]) -> None:
        """Put `regions`, at least one, in the place of what the table has held."""
        size = len(regions[0].embedding)
        columns: list[list[Any]] = [
            [one.image for one in regions],
            [one.label for one in regions],
            [list(one.box) for one in regions],
            [one.share for one in regions],
            [one.embedding.tolist() for one in regions],
        ]
        self._connection.execute(
            "CREATE OR REPLACE TABLE regions "
            f"(image TEXT, label TEXT, box INTEGER[4], share FLOAT, embedding FLOAT[{size}])"
        )
        self._connection.execute(
            "INSERT INTO regions SELECT unnest(?), unnest(?), unnest(?), unnest(?), unnest(?)", columns
        )

    def find(self, vector: Floats, count: int) -> list[tuple[Region, float]]:
        """The `count` regions that fit `vector` [E] best, with their cosines."""
        rows = self._connection.execute(
            "SELECT image, label, box, share, embedding, "
            f"array_inner_product(embedding, ?::FLOAT[{len(vector)}]) AS fit "
            "FROM regions ORDER BY fit DESC LIMIT ?",
            [vector.tolist(), count],
        ).fetchall()
        return [
            (Region(image, label, tuple(box), share, np.array(embedding, dtype=np.float32)), fit)
            for image, label, box, share, embedding, fit in rows
        ]


def _connected(path: Path) -> DuckDBPyConnection:
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise SystemExit("the table needs DuckDB: pip install 'lseg-serve[examples]'") from error
    return duckdb.connect(str(path))


def draw(folder: Path, count: int) -> None:
    """Write `count` drawn scenes to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(draw_scene(_FIRST_SEED + number, (480, 360)).image).save(folder / f"{number:03}.jpg")


def index(source: Source, folder: Path, table: Table, labels: Sequence[str]) -> int:
    """Fill a table with the regions of a folder's images; how many there are."""
    text = source.embed_labels(labels)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    regions: list[Region] = []
    for path in paths:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        regions += regions_of(str(path), source.embed(pixels), labels, text)
    if not regions:
        raise SystemExit(f"{folder}: there is no image in it; their names end in one of {' '.join(_SUFFIXES)}")
    table.fill(regions)
    return len(regions)


def contact_sheet(found: Sequence[tuple[Region, float]]) -> Image.Image:
    """Each region in its image, framed, best first."""
    width, height = _TILE
    page = Image.new("RGB", (_COLUMNS * width, -(-len(found) // _COLUMNS) * height), "white")
    for number, (region, fit) in enumerate(found):
        left, top, wide, high = region.box
        with Image.open(region.image) as picture:
            tile = picture.convert("RGB")
        ImageDraw.Draw(tile).rectangle((left, top, left + wide - 1, top + high - 1), outline="red", width=3)
        tile.thumbnail(_TILE)
        ImageDraw.Draw(tile).text((4, 4), f"{fit:.2f} {Path(region.image).name}", fill="white", stroke_fill="black")
        page.paste(tile, (number % _COLUMNS * width, number // _COLUMNS * height))
    return page


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("draw", help="scenes to search")
    one.add_argument("folder", type=Path)
    one.add_argument("--count", type=int, default=24)
    one = commands.add_parser("index", help="images to a table")
    one.add_argument("folder", type=Path)
    one.add_argument("--labels", default=",".join(label.name for label in LABELS), help="that regions are cut by")
    one.add_argument("--table", type=Path, default=Path("regions.duckdb"))
    add_source(one)
    one = commands.add_parser("find", help="the best regions for a phrase, as a contact sheet")
    one.add_argument("phrase")
    one.add_argument("--table", type=Path, default=Path("regions.duckdb"))
    one.add_argument("--count", type=int, default=8)
    one.add_argument("--output", type=Path, default=Path("found.png"))
    add_source(one)
    options = parser.parse_args(arguments)
    if options.command == "draw":
        draw(options.folder, options.count)
        return
    with Table(options.table) as table, opened(options) as source:
        if options.command == "index":
            count = index(source, options.folder, table, options.labels.split(","))
            print(f"{count} regions in {options.table}")
            return
        found = table.find(source.embed_labels([options.phrase])[0], options.count)
    for region, fit in found:
        print(f"{fit:.2f}  {region.image}  {region.label}, {region.share:.1%} of the image, box {list(region.box)}")
    contact_sheet(found).save(options.output)


if __name__ == "__main__":
    main()
