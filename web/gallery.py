"""The pictures that the page offers: drawn by the project, or photos under CC0."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from PIL import Image

from lseg_serve.web.answers import Gallery, Picture

_THUMBNAIL: Final = (320, 214)
_DRAWN: Final = "drawn by this project, MIT"
_SCIKIT_IMAGE: Final = "from scikit-image's sample images, CC0"


@dataclass(frozen=True)
class _Entry:
    file: str
    title: str
    credit: str
    labels: tuple[str, ...]


_ENTRIES: Final = {
    "village": _Entry(
        "pictures/village.jpg",
        "Village",
        _DRAWN,
        ("sky", "sun", "cloud", "airplane", "pink balloon", "mountain", "cottage", "rooftop", "street", "lawn", "cow",
         "sheep", "person"),
    ),
    "beach": _Entry(
        "gallery/beach.jpg",
        "Beach",
        _DRAWN,
        ("sky", "sun", "hot-air balloon", "airplane", "sea", "boat", "lighthouse", "parasol", "tent", "beach", "rock",
         "grass"),
    ),
    "lake": _Entry(
        "gallery/lake.jpg",
        "Lake",
        _DRAWN,
        ("sky", "mountain", "lighthouse", "boat", "tree", "yellow flowers", "orange flowers", "lake", "lawn"),
    ),
    "town": _Entry(
        "gallery/town.jpg",
        "Town",
        _DRAWN,
        ("sky", "cloud", "bird", "skyscraper", "tree", "umbrella", "red bus", "green car", "purple car", "road",
         "fence", "grass"),
    ),
    "winter": _Entry(
        "gallery/winter.jpg",
        "Winter",
        _DRAWN,
        ("sky", "sun", "cloud", "bird", "hot-air balloon", "tree", "lake", "sheep", "fence", "snow"),
    ),
    "desert": _Entry(
        "gallery/desert.jpg",
        "Desert",
        _DRAWN,
        ("sky", "moon", "cloud", "bird", "mountain", "cactus", "person", "tent", "horse", "street", "sand"),
    ),
    "cat": _Entry("photos/cat.jpg", "Cat", f"“chelsea”, {_SCIKIT_IMAGE}", ("cat", "grass", "other")),
    "coffee": _Entry("photos/coffee.jpg", "Coffee", f"“coffee”, {_SCIKIT_IMAGE}", ("cup", "spoon", "table", "other")),
}  # fmt: skip


def gallery(folder: Path) -> Gallery:
    """All pictures whose files lie in `folder`."""
    entries = {name: entry for name, entry in _ENTRIES.items() if (folder / entry.file).is_file()}
    return Gallery(pictures=[_picture(folder, name, entry) for name, entry in entries.items()])


def picture_file(folder: Path, name: str) -> Path | None:
    """The file that is served as `name`, such as village.jpg; None if there is none."""
    entry = _ENTRIES.get(name.removesuffix(".jpg"))
    path = None if entry is None or not name.endswith(".jpg") else folder / entry.file
    return path if path is not None and path.is_file() else None


@lru_cache(maxsize=32)
def thumbnail(path: Path) -> bytes:
    """The picture as a small JPEG."""
    with Image.open(path) as image:
        image.thumbnail(_THUMBNAIL)
        file = io.BytesIO()
        image.convert("RGB").save(file, "JPEG", quality=82, progressive=True)
    return file.getvalue()


def _picture(folder: Path, name: str, entry: _Entry) -> Picture:
    with Image.open(folder / entry.file) as image:
        width, height = image.size
    return Picture(
        id=name,
        title=entry.title,
        url=f"/gallery/{name}.jpg",
        thumbnail=f"/gallery/{name}.small.jpg",
        width=width,
        height=height,
        credit=entry.credit,
        labels=list(entry.labels),
    )
