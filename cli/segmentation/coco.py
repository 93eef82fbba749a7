"""COCO documents of many images, put together from the answer that each image has had in the format `coco`.

The answers stay beside them, so a command goes on where another was interrupted, and a second document of the same
images needs no request.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image
from pycocotools import mask as rle

from lseg_serve.cli.files import write_whole
from lseg_serve.cli.manners import CommandError, Status
from lseg_serve.cli.segmentation.categories import Categories
from lseg_serve.cli.segmentation.inputs import Source
from lseg_serve.cli.segmentation.record import Record

INSTANCES, STUFF, PANOPTIC, RESULTS = "coco-instances", "coco-stuff", "coco-panoptic", "coco-results"
# Where each document lies in the output folder: as COCO's own, and as its readers look for them.
FILES: Final = {
    INSTANCES: "annotations/instances_default.json",
    STUFF: "annotations/stuff_default.json",
    PANOPTIC: "annotations/panoptic_default.json",
    RESULTS: "results.json",
}
PNGS: Final = "annotations/panoptic_default"
_INFO: Final = {"description": "Made by lseg-serve"}


@dataclass
class Document:
    """One COCO document, while it is put together."""

    format: str  # one of `FILES`
    categories: Categories | None  # of the user's own file
    ids: Sequence[int] | None  # of the categories in it, for each label that was asked for
    images: list[dict[str, Any]] = field(default_factory=list)
    objects: int = 0  # written so far
    _own: list[dict[str, Any]] = field(default_factory=list)  # categories of the answers

    def write(self, sources: Sequence[Source], record: Record) -> Path:
        """Write the document of those images, all of which have answers, and return its path.

        Raises:
            CommandError: answers are of different labels, or damaged; two images have one name.
            OSError: it cannot be written.
        """
        path = record.folder / FILES[self.format]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, self._pieces(sources, record))
        return path

    def _pieces(self, sources: Sequence[Source], record: Record) -> Iterator[bytes]:
        """The document in pieces: annotations image by image, as there may be many, then what is known by then."""
        is_list = self.format == RESULTS
        yield b"[" if is_list else b'{"annotations": ['
        ids = self.image_ids(sources)
        comma = b"\n"
        for source, image_id in zip(sources, ids, strict=True):
            for annotation in self._annotations(source, image_id, record):
                yield comma + json.dumps(annotation, ensure_ascii=False).encode()
                comma = b",\n"
        if is_list:
            yield b"\n]\n"
            return
        rest = {"images": self.images, "categories": self._categories(), "info": _INFO, "licenses": []}
        yield b"\n],\n" + json.dumps(rest, ensure_ascii=False)[1:].encode() + b"\n"

    def image_ids(self, sources: Sequence[Source]) -> list[int]:
        """The id of each image: that of the user's file, else the next that is free.

        Raises:
            CommandError: two images have one name, or results are asked for of an image without an id.
        """
        known = self.categories.image_ids if self.categories else {}
        free = max(known.values(), default=0) + 1
        names: set[str] = set()
        ids = []
        for source in sources:
            name = source.place.as_posix()
            if name in names:
                raise CommandError(
                    Status.REFUSED, f"two images would be {name!r} in the document; accepted: a folder above both"
                )
            names.add(name)
            if name not in known and known and self.format == RESULTS and self.categories:
                raise CommandError(
                    Status.REFUSED, f"{name!r} is no image of {self.categories.path}; results need the id that it has"
                )
            ids.append(known.get(name, free))
            free += name not in known
        return ids

    def _annotations(self, source: Source, image_id: int, record: Record) -> Iterator[dict[str, Any]]:
        answer = self._read(record.output_of(source))
        image = {**answer["images"][0], "id": image_id, "file_name": source.place.as_posix()}
        self.images.append(image)
        found = [
            {**one, "image_id": image_id, "category_id": self._id(one["category_id"])} for one in answer["annotations"]
        ]
        self.objects += len(found)
        if self.format == PANOPTIC:
            yield self._panoptic(found, image, record.output_of(source).relative_to(record.folder), record.folder)
            return
        for number, one in enumerate(found, self.objects - len(found) + 1):
            if self.format == RESULTS:
                yield {name: one[name] for name in ("image_id", "category_id", "segmentation", "score")}
            else:
                yield {**one, "id": number}

    def _read(self, path: Path) -> dict[str, Any]:
        """The answer in a file, whose labels must be those of the answers before it."""
        try:
            answer: dict[str, Any] = json.loads(path.read_bytes())
            own = answer["categories"]
        except (ValueError, KeyError, TypeError) as error:
            raise CommandError(
                Status.REFUSED, f"{path} is damaged ({error}); remove it to have it made anew"
            ) from error
        self._own = self._own or own
        if own != self._own or (self.ids is not None and len(own) != len(self.ids)):
            raise CommandError(
                Status.REFUSED,
                f"{path} is of other labels than the answers before it; accepted: --again, to make all of them anew",
            )
        return answer

    def _id(self, number: int) -> int:
        """The category's id in the user's file, given that in an answer: the label's index and 1."""
        return number if self.ids is None else self.ids[number - 1]

    def _categories(self) -> list[Mapping[str, Any]]:
        entries = self.categories.entries if self.categories else self._own
        return [{"supercategory": "", "isthing": 0, **entry} for entry in entries]

    def _panoptic(
        self, objects: list[dict[str, Any]], image: Mapping[str, Any], place: Path, folder: Path
    ) -> dict[str, Any]:
        """The annotation of one image, whose PNG it writes: red, green and blue of a pixel are its object's id."""
        png = place.with_suffix(".png")
        path = folder / PNGS / png
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, _png(objects, image["height"], image["width"]))
        names = ("id", "category_id", "area", "bbox", "iscrowd")
        segments = [{name: one[name] for name in names} for one in objects]
        return {"image_id": image["id"], "file_name": png.as_posix(), "segments_info": segments}


def _png(objects: Sequence[Mapping[str, Any]], height: int, width: int) -> bytes:
    """Of [height, width, 3] pixels: the id of the object at each, the lowest 8 bits in red; 0 where there is none."""
    ids = np.zeros((height, width), np.uint32)
    for one in objects:
        segmentation = {**one["segmentation"], "counts": one["segmentation"]["counts"].encode()}
        ids[rle.decode(segmentation).view(np.bool_)] = one["id"]
    pixels = np.stack([ids >> shift & 255 for shift in (0, 8, 16)], axis=2).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
