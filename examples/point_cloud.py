"""A point cloud that is asked by words: embeddings of several posed views, fused at the points that they see.

    python examples/point_cloud.py --output cloud --where "red car"

The views are drawn, with exact depth and poses (`demo.posed`). The network sees each image once. Each point of the
cloud gets the mean of the embeddings at the pixels that show it, and the cloud is stored. Words are asked of the stored
cloud alone; the mIoU against the drawn truth says how good the fusion is.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from lseg_serve.demo.posed import View, cameras_around, draw_views
from lseg_serve.demo.vocabulary import CLASS_INDEX, LABELS
from lseg_serve.embeddings import Embeddings, pack, unpack
from lseg_serve.embeddings.embeddings import unit_length
from lseg_serve.examples.source import Source, add_source, opened

Floats = npt.NDArray[np.float32]

_VOXEL = 0.08  # metres: of all points in a cube of this side, one is kept
_FARTHEST = 22.0  # metres from a camera
_TOLERANCE = 0.25  # metres between a point's depth and the image's, beyond which something hides it
_BORDER = 4  # pixels at the edge of an image that are left out: the network saw less around them
_NEAR = 6.0  # metres: a view from so far counts 1 / e of one from nearby, in the weighted mean


@dataclass(frozen=True)
class Cloud:
    """Points with their fused embeddings."""

    points: npt.NDArray[np.float64]  # [N, 3], metres
    mean: Floats  # [N, E], of unit length: the plain mean over the views
    weighted: Floats  # [N, E], of unit length: the mean that counts near views more

    def save(self, path: Path) -> None:
        """Write a file without pickles, half the size in float16."""
        arrays = {"points": self.points, "mean": self.mean.astype("f2"), "weighted": self.weighted.astype("f2")}
        path.write_bytes(pack(arrays, {"what": "a cloud of points"}, "safetensors"))

    @classmethod
    def load(cls, path: Path) -> Cloud:
        """Read it again."""
        arrays, _ = unpack(path.read_bytes())
        return cls(arrays["points"], arrays["mean"].astype(np.float32), arrays["weighted"].astype(np.float32))


def cloud_points(views: Sequence[View]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
    """One point for each cube that any view sees, [N, 3], and its true class [N]."""
    points = np.concatenate([view.points() for view in views])
    classes = np.concatenate([view.classes[np.isfinite(view.depth)] for view in views])
    depth = np.concatenate([view.depth[np.isfinite(view.depth)] for view in views])
    points, classes = points[depth < _FARTHEST], classes[depth < _FARTHEST]
    _, kept = np.unique(np.floor(points / _VOXEL).astype(np.int64), axis=0, return_index=True)
    return points[kept], classes[kept]


def seen(view: View, points: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Which of `points` [N, 3] a view shows, as indices [M], and where in its image: [M, 2] of x and y."""
    places, depth = view.camera.project(points)
    size = np.array([view.camera.width, view.camera.height])
    inside = (depth > 0) & (places >= _BORDER).all(1) & (places <= size - 1 - _BORDER).all(1)
    found = np.flatnonzero(inside)
    column, row = np.rint(places[found]).astype(np.int64).T
    open_to_view = np.abs(view.depth[row, column] - depth[found]) < _TOLERANCE
    return found[open_to_view], places[found[open_to_view]]


def fuse(views: Sequence[View], maps: Sequence[Embeddings], points: npt.NDArray[np.float64]) -> Cloud:
    """The embeddings of `maps`, one of each view, at `points` [N, 3]; of length 0 where no view shows one."""
    mean = np.zeros((len(points), maps[0].size), dtype=np.float32)
    weighted = np.zeros_like(mean)
    for view, found in zip(views, maps, strict=True):
        index, places = seen(view, points)
        vectors = found.at(places)
        distance = np.linalg.norm(points[index] - np.array(view.camera.position), axis=1)
        mean[index] += vectors
        weighted[index] += vectors * np.exp(-distance / _NEAR).astype(np.float32)[:, None]
    return Cloud(points, unit_length(mean), unit_length(weighted))


def mean_iou(found: npt.NDArray[np.integer], truth: npt.NDArray[np.integer]) -> float:
    """The mean over the classes of `truth` of intersection over union."""
    shares = [np.sum((found == one) & (truth == one)) / np.sum((found == one) | (truth == one)) for one in set(truth)]
    return float(np.mean(shares))


def scores_of_views(
    views: Sequence[View],
    maps: Sequence[Embeddings],
    cloud: Cloud,
    truth: npt.NDArray[np.uint8],
    texts: tuple[npt.NDArray[np.int64], Floats],
) -> Iterator[tuple[float, float]]:
    """For each view, the mIoU of its own labels at the points that it shows, and of the fused cloud's at the same."""
    classes, text = texts
    for view, found in zip(views, maps, strict=True):
        index, places = seen(view, cloud.points)
        own = classes[np.argmax(found.at(places) @ text.T, axis=1)]
        fused = classes[np.argmax(cloud.weighted[index] @ text.T, axis=1)]
        yield mean_iou(own, truth[index]), mean_iou(fused, truth[index])


def picture(view: View, cloud: Cloud, similarity: Floats) -> Image.Image:
    """A view in grey with the cloud's points over it, the redder the better they fit."""
    page = np.repeat(view.image.mean(axis=2, keepdims=True) * 0.6 + 70, 3, axis=2)
    index, places = seen(view, cloud.points)
    column, row = np.rint(places).astype(np.int64).T
    low, high = np.quantile(similarity, 0.5), similarity.max()
    share = ((similarity[index] - low) / max(high - low, 1e-6)).clip(0, 1)[:, None] ** 2
    order = np.argsort(share[:, 0])
    page[row[order], column[order]] += (np.array([255.0, 30.0, 30.0]) - page[row[order], column[order]]) * share[order]
    return Image.fromarray(page.clip(0, 255).astype(np.uint8)).resize((2 * page.shape[1], 2 * page.shape[0]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw, fuse, store, ask."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("cloud"), help="folder (default: %(default)s)")
    parser.add_argument("--where", default="red car", help="what is looked for (default: %(default)s)")
    add_source(parser)
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    with opened(options) as source:
        run(source, options.output, options.where)


def run(source: Source, output: Path, where: str) -> dict[str, float]:
    """Everything, with figures printed; these are returned by name."""
    views = draw_views(cameras_around())
    points, truth = cloud_points(views)
    maps = [source.embed(view.image) for view in views]
    fuse(views, maps, points).save(output / "cloud.safetensors")

    cloud = Cloud.load(output / "cloud.safetensors")  # from here on, no image and no network
    classes = np.unique(truth).astype(np.int64)
    text = source.embed_labels([LABELS[one].name for one in classes])
    covered = cloud.mean.any(axis=1)
    figures = {"points": float(len(points)), "seen": float(covered.mean())}
    for name in ("mean", "weighted"):
        labels = classes[np.argmax(getattr(cloud, name) @ text.T, axis=1)]
        figures[name] = mean_iou(labels[covered], truth[covered])
    print(f"{len(points)} points, {figures['seen']:.1%} of them shown by a view")
    print(f"mIoU of the fused cloud: {figures['mean']:.1%} plain mean, {figures['weighted']:.1%} near views more")
    for number, (own, fused) in enumerate(scores_of_views(views, maps, cloud, truth, (classes, text)), start=1):
        print(f"view {number} alone: {own:.1%}; the fused cloud at the same points: {fused:.1%}")
        figures[f"view {number}"], figures[f"fused {number}"] = own, fused

    similarity = cast(Floats, (cloud.weighted @ source.embed_labels([where]).T)[:, 0])
    best = int(np.argmax(similarity))
    x, _, z = cloud.points[best]
    print(f"{where!r} is at x = {x:.1f} m, z = {z:.1f} m: {LABELS[truth[best]].name}")
    picture(views[len(views) // 2], cloud, similarity).save(output / "where.png")
    return {**figures, "x": float(x), "z": float(z), "is a car": float(truth[best] == CLASS_INDEX["car"])}


if __name__ == "__main__":
    main()
