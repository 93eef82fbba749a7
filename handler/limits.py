"""How large an answer the TorchServe in front of this worker lets through.

TorchServe kills a worker whose answer exceeds `max_response_size`, and tells the worker nothing of that setting. The
frontend is the worker's parent process, and its command line names its configuration file.
"""

from __future__ import annotations

import itertools
import logging
import os
from pathlib import Path

import psutil
from ts.model_server import load_properties

_DEFAULT = 6_553_500  # TorchServe's, where nothing is configured
_FRONTEND = "org.pytorch.serve.ModelServer"

logger = logging.getLogger(__name__)


def frontend_response_limit() -> int | None:
    """The frontend's `max_response_size` in bytes; None where the parent process is no TorchServe."""
    try:
        parent = psutil.Process().parent()
        command = parent.cmdline() if parent is not None else []
        if parent is None or _FRONTEND not in command:
            return None
        properties = _properties(command, Path(parent.cwd()))
    except (psutil.Error, OSError, UnicodeDecodeError) as error:
        logger.warning("cannot read TorchServe's configuration (%s): taking its default limit of %d", error, _DEFAULT)
        return _DEFAULT
    return _limit(properties)


def _properties(command: list[str], folder: Path) -> dict[str, str]:
    options = dict(itertools.pairwise(command))
    path = options.get("-f")
    return dict(load_properties(str(folder / path))) if path else {}


def _limit(properties: dict[str, str]) -> int:
    value = properties.get("max_response_size", str(_DEFAULT))
    if properties.get("enable_envvars_config", "false").lower() == "true":
        value = os.environ.get("TS_MAX_RESPONSE_SIZE", value)
    return int(value) if value.isdigit() else _DEFAULT
