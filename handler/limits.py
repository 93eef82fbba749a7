"""How large a request or response the TorchServe in front of this worker passes on.

TorchServe kills a worker whose response exceeds `max_response_size`, but does not tell the worker that setting. Its
frontend is the worker's parent process, and the parent's command line names the configuration file.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import psutil
from ts.model_server import load_properties

_DEFAULT = 6_553_500  # TorchServe's for both sizes, where nothing is configured
_FRONTEND = "org.pytorch.serve.ModelServer"

logger = logging.getLogger(__name__)


Setting = Literal["max_request_size", "max_response_size"]


def frontend_limit(setting: Setting) -> int | None:
    """What the frontend's `setting` is, in bytes; None where the parent process is no TorchServe."""
    try:
        parent = psutil.Process().parent()
        command = parent.cmdline() if parent is not None else []
        if parent is None or _FRONTEND not in command:
            return None
        return configured_limit(setting, command, Path(parent.cwd()))
    except (psutil.Error, OSError, UnicodeDecodeError) as error:
        logger.warning("cannot read TorchServe's configuration (%s): taking its default limit of %d", error, _DEFAULT)
        return _DEFAULT


def configured_limit(setting: Setting, command: Sequence[str], folder: Path) -> int:
    """The `setting` of a frontend that was started in `folder` by `command`.

    The value is in the file after `-f`, or, where that file has `enable_envvars_config=true`, in the environment
    variable `TS_MAX_REQUEST_SIZE` or `TS_MAX_RESPONSE_SIZE`. TorchServe takes its default for a value that is no
    number.

    Raises:
        OSError: the file cannot be read.
    """
    path = dict(itertools.pairwise(command)).get("-f")
    properties: dict[str, str] = dict(load_properties(str(folder / path))) if path else {}
    value = properties.get(setting, str(_DEFAULT))
    if properties.get("enable_envvars_config", "false").lower() == "true":
        value = os.environ.get(f"TS_{setting.upper()}", value)
    return int(value) if value.isdigit() else _DEFAULT
