"""Where the examples have their embeddings from: a server, or a model in this process."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lseg_serve.client import LSegClient
from lseg_serve.embeddings import Embeddings
from lseg_serve.segmenter import Config, Segmenter

_DEMO = Path(__file__).resolve().parent.parent / "demo"
BUNDLED = _DEMO / "weights" / "lseg-scenes.safetensors"


class Source(Protocol):
    """What the examples ask; `Segmenter` and `LSegClient` both answer it."""

    def embed(self, image: npt.NDArray[np.uint8], /) -> Embeddings:
        """The embeddings of an image [H, W, 3]."""
        ...

    def embed_labels(self, labels: Sequence[str], /) -> npt.NDArray[np.float32]:
        """The unit embeddings [K, E] of texts."""
        ...


def add_source(parser: argparse.ArgumentParser) -> None:
    """The options that choose a source."""
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--url", help="a server with the model `lseg`, such as http://127.0.0.1:8080")
    chosen.add_argument(
        "--model", type=Path, help="an archive or a checkpoint for this process (default: the bundled one)"
    )


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[Source]:
    """The source that the options name."""
    if options.url is not None:
        with LSegClient(options.url) as client:
            yield client
    elif options.model is not None:
        yield Segmenter.load(options.model)
    else:
        yield bundled()


def bundled() -> Segmenter:
    """The bundled model, which knows the drawn scenes that these examples show."""
    return Segmenter.load(BUNDLED, Config.from_file(_DEMO / "model-config.yaml"))
