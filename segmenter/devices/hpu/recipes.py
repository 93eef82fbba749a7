"""The folder of compiled graphs, which Gaudi calls recipes: one for each combination of software, cards and settings.

The bridge finds a recipe by its graph and by the driver's version alone. So it would take one that other software made,
such as that of another container on this host, or one that was made with other kernels.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import torch

from lseg_serve.segmenter.config import HpuParams
from lseg_serve.segmenter.devices.hpu.host import Host

_CONFIG = "PT_HPU_RECIPE_CACHE_CONFIG"

# Beginnings of the bridge's variables that change no kernel. What autocast changes is in the graph itself, and its
# lists lie in another folder for each worker.
_NO_KERNELS = (
    _CONFIG,
    "PT_HPU_AUTOCAST_",
    "PT_HPU_AUTOLOAD",
    "PT_HPU_ENABLE_CACHE_METRICS",
    "PT_HPU_LOG",
    "PT_HPU_METRICS",
    "PT_HPU_PLACE_ON_CPU",
)


def use_recipe_cache(params: HpuParams, software: str, host: Host | None = None) -> None:
    """Name the folder of recipes in the environment, unless that names one. The bridge reads it when it takes a card.

    Args:
        params: has the folder of all such folders, and how large each may become.
        software: the bridge's version.
        host: where the cards are; None: this host.
    """
    if not params.recipe_cache or _CONFIG in os.environ:
        return
    folder = Path(params.recipe_cache).expanduser().absolute() / folder_name(software, host or Host())
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[_CONFIG] = f"{folder},false,{params.recipe_cache_megabytes}"


def folder_name(software: str, host: Host) -> str:
    """The versions of bridge and torch, the cards, a hash of the settings: 1.23.0.695_torch-2.9.0_GAUDI2_0f3a1b2c."""
    settings = sorted(
        f"{name}={value}"
        for name, value in os.environ.items()
        if name.startswith("PT_") and not name.startswith(_NO_KERNELS)
    )
    digest = hashlib.sha256("\n".join(settings).encode()).hexdigest()[:8]
    parts = (software, f"torch-{torch.__version__}", host.generation or "unknown", digest)
    return "_".join(re.sub(r"[^\w.+-]", "-", part) for part in parts)
