"""What `lseg buckets` prints: the shapes that a worker would compile on a Gaudi, and what they waste."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lseg_serve.model import Architecture
from lseg_serve.model.detection import detect_architecture
from lseg_serve.segmenter.archive import Archive
from lseg_serve.segmenter.config import Config
from lseg_serve.segmenter.config.document import read_document
from lseg_serve.segmenter.config.torchserve import ModelConfigFile
from lseg_serve.segmenter.engine.shapes import (
    Graph,
    ImageGraph,
    Shapes,
    TextGraph,
    bounded_shapes,
    feature_pixels,
    split,
)
from lseg_serve.segmenter.preprocessing.buckets import choose_bucket

# Height and width of what cameras, phones, screens and scanners make, and ADE20K's median.
_COMMON_SIZES = (
    (240, 320), (480, 640), (512, 683), (600, 800), (720, 1280), (1080, 1920), (1280, 720), (1920, 1080),
    (2160, 3840), (3000, 4000), (4000, 3000), (3024, 4032), (1000, 1000), (3508, 2480), (500, 2000),
)  # fmt: skip
_COMMON_LABELS = (1, 2, 5, 10, 20, 50, 100, 150, 255)
_FLOAT_BYTES = 4


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--config", type=Path, default=Path("config/model-config.yaml"), help="a model-config.yaml")
    parser.add_argument("--model", type=Path, help="an unpacked archive; without it, the published ViT-L/16")
    parser.add_argument("--size", action="append", metavar="HxW", help="an image size; repeat for more than one")


def print_shapes(options: argparse.Namespace) -> None:
    """Print the plan that the options name.

    Raises:
        ArchiveError: the archive cannot be used.
        ConfigError: the configuration cannot be used.
        ValueError: a size is not accepted.
    """
    document = read_document(options.config)
    config, batch_size = Config.from_mapping(document), ModelConfigFile.model_validate(document).batch_size
    sizes = [_parsed(text) for text in options.size] if options.size else list(_COMMON_SIZES)
    architecture = _architecture(options.model)
    shapes = bounded_shapes(config, architecture, batch_size)
    if options.json:
        document = _document(shapes, architecture, sizes, config.hpu.max_graphs)
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        sys.stdout.write("\n".join(_report(shapes, architecture, sizes, config.hpu.max_graphs)) + "\n")


def _architecture(folder: Path | None) -> Architecture:
    return Architecture() if folder is None else detect_architecture(Archive.read(folder).weights, {})


def _parsed(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise ValueError(f"--size is {text!r}; accepted: height x width in pixels, such as 480x640")
    return int(height), int(width)


def _document(
    shapes: Shapes, architecture: Architecture, sizes: Sequence[tuple[int, int]], most: int
) -> dict[str, Any]:
    """The plan as JSON can hold it; bytes are those of the tensors of one run."""
    graphs = [(graph, *_bytes(graph, shapes, architecture)) for graph in shapes.graphs()]
    return {
        "max_graphs": most,
        "graphs": [{"graph": str(graph), "bytes_in": taken, "bytes_out": given} for graph, taken, given in graphs],
        "buckets": [{"height": one.height, "width": one.width} for one in shapes.buckets],
        "images": [
            {"height": height, "width": width, "bucket": str(choose_bucket(shapes.buckets, height, width))}
            for height, width in sizes
        ],
    }


def _report(shapes: Shapes, architecture: Architecture, sizes: Sequence[tuple[int, int]], most: int) -> Iterator[str]:
    graphs = shapes.graphs()
    yield f"{len(graphs)} graphs, of at most {most}; in and out are the tensors of one run, weights and workspace apart"
    for number, graph in enumerate(graphs, 1):
        taken, given = _bytes(graph, shapes, architecture)
        yield f"  {number:3d}  {graph!s:<44} in {taken / 1e6:8.1f} MB   out {given / 1e6:8.1f} MB"
    yield ""
    yield f"{'image':>11}  {'bucket':>9}  {'stretched by':>12}  {'feature pixels padded':>23}"
    for height, width in sizes:
        bucket = choose_bucket(shapes.buckets, height, width)
        stretch = math.exp(abs(math.log((bucket.height / bucket.width) / (height / width))))
        waste = shapes.pixel_count(bucket) / feature_pixels(bucket) - 1
        yield f"{f'{height}x{width}':>11}  {bucket!s:>9}  {stretch:12.2f}  {waste:23.0%}"
    yield ""
    yield f"{'labels':>11}  {'bucket':>9}  {'padded':>9}"
    for count in (count for count in _COMMON_LABELS if count <= (shapes.labels or (0,))[-1]):
        bucket_size = shapes.label_count(count)
        yield f"{count:11d}  {bucket_size:9d}  {bucket_size / count - 1:9.0%}"
    for name, batch_sizes in (("images", shapes.image_batches), ("windows", shapes.batches)):
        yield ""
        yield f"{name:>11}  {'batches':>9}  {'padded':>9}"
        for count in range(1, 2 * batch_sizes[-1] + 1):
            batches = split(count, batch_sizes)
            yield f"{count:11d}  {'+'.join(map(str, batches)):>9}  {sum(batches) / count - 1:9.0%}"


def _bytes(graph: Graph, shapes: Shapes, architecture: Architecture) -> tuple[int, int]:
    """Bytes of the tensors that go into a graph and come out of it."""
    embedding, channels = architecture.embedding, architecture.features + 4
    if isinstance(graph, TextGraph):
        return graph.labels * graph.tokens * _FLOAT_BYTES, graph.labels * embedding * _FLOAT_BYTES
    if isinstance(graph, ImageGraph):
        pixels = graph.batch * 3 * graph.bucket.height * graph.bucket.width
        return pixels * _FLOAT_BYTES, graph.batch * channels * shapes.pixel_count(graph.bucket) * _FLOAT_BYTES
    taken = graph.batch * (channels * graph.pixels + embedding * graph.labels)
    return taken * _FLOAT_BYTES, graph.batch * (graph.labels + 4) * graph.pixels * _FLOAT_BYTES
