"""A checkpoint once it is read: the tensors of an LSeg under lang-seg's keys, and what the file says of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from lseg_serve.model.architecture import Architecture


@dataclass(frozen=True)
class Checkpoint:
    """The content of a file: tensors under lang-seg's keys and, if it has any, hyper-parameters.

    The tensors are mapped from the file. They take memory only when they are used, and the file must not change.
    """

    path: Path
    tensors: dict[str, Tensor]
    hyper_parameters: dict[str, Any] = field(default_factory=dict)
    architecture: Architecture | None = None  # only the project's own files state it
    extra: tuple[str, ...] = ()  # keys beside the network's, which the file is refused for
    ignored: tuple[str, ...] = ()  # keys beside the network's that were dropped, as was asked for
