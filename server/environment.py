"""What TorchServe is started with: variables, programs and options."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from lseg_serve.server.errors import ServerError
from lseg_serve.server.java import java_environment
from lseg_serve.server.settings import Settings

# The checkout, or the folder of the installed package. Both contain config/.
PROJECT = Path(__file__).resolve().parent.parent
# The default place for archives and logs: the checkout, or the current folder if the package is installed.
HOME = PROJECT if (PROJECT / "pyproject.toml").is_file() else Path.cwd()
_LOG_CONFIG = PROJECT / "config" / "log4j2.xml"
_JSON_LOG = PROJECT / "config" / "log4j2-json.xml"
# The one for a server in the foreground.
CONSOLE_LOG = PROJECT / "config" / "log4j2-console.xml"
_LOGS_VARIABLE = "LSEG_LOGS"
_LOG_KINDS = ("text", "json")
_LOG_OPTION = "-Dlog4j.configurationFile="
# Linux takes no longer path for a Unix socket. TorchServe's workers open theirs in the run folder.
_SOCKET_PATH_BYTES = 107
_SOCKET_NAME = ".ts.sock.9000"


def environment_of(run_folder: Path, temporary: Path, logs: Path) -> dict[str, str]:
    """The variables of a server with these folders; the caller's own are among them.

    Raises:
        FileNotFoundError: there is no Java.
    """
    # TMPDIR holds the process id, TEMP the workers' sockets and unpacked models. Two servers that shared these folders
    # would clash.
    own = {"TMPDIR": temporary, "TEMP": temporary, "LOG_LOCATION": logs, "METRICS_LOCATION": logs}
    tools = _provide_kill(run_folder / "bin")
    return {
        # A worker imports torch before the handler knows which mode of Gaudi is configured. By default torch would then
        # load Gaudi's bridge in the bridge's default mode.
        "PT_HPU_AUTOLOAD": "0",
        **os.environ,
        **java_environment(),
        **({"PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}"} if tools else {}),
        **{name: str(path.resolve()) for name, path in own.items()},
    }


def log_options(config: Path, environment: Mapping[str, str], console_log: Path | None = None) -> list[str]:
    """The option for `console_log`, or else for the project's logs; none where `config` names others that are there.

    The project's own are text or JSON, by the variable `LSEG_LOGS`, in files or on the console.

    Raises:
        ServerError: `LSEG_LOGS` is neither text nor json.
    """
    kind = environment.get(_LOGS_VARIABLE) or "text"
    if kind not in _LOG_KINDS:
        raise ServerError(f"{_LOGS_VARIABLE} is {kind!r}; accepted: {', '.join(_LOG_KINDS)}")
    if console_log is not None:
        return ["--log-config", str(_JSON_LOG if kind == "json" and console_log == CONSOLE_LOG else console_log)]
    arguments = shlex.split(Settings.read(config, {}).get("vmargs", ""))
    named = [argument.removeprefix(_LOG_OPTION) for argument in arguments if argument.startswith(_LOG_OPTION)]
    foreign = any(Path(name).is_file() and not Path(name).samefile(_LOG_CONFIG) for name in named)
    return [] if foreign else ["--log-config", str(_JSON_LOG if kind == "json" else _LOG_CONFIG)]


def check_socket_path(run_folder: Path, temporary: Path) -> None:
    """Refuse a folder whose path is too long for the workers' sockets.

    Raises:
        ServerError: it is.
    """
    excess = len(os.fsencode(temporary.resolve() / _SOCKET_NAME)) - _SOCKET_PATH_BYTES
    if excess > 0:
        raise ServerError(
            f"the path of the run folder {run_folder} is {excess} bytes too long for the workers' sockets; "
            "choose a shorter one: python -m server --run-folder FOLDER start"
        )


def _provide_kill(folder: Path) -> Path | None:
    """A folder with a program `kill`, if the machine has none; None if it has one.

    TorchServe ends its workers with that program. It is part of procps, which bare Debian and slim container images
    lack. Without it, TorchServe responds with 500 to scaling down, and a stopped server does not delete its unpacked
    model. Every shell has a built-in `kill`, so a one-line script replaces the program.
    """
    if shutil.which("kill") is not None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "kill"
    script.write_text('#!/bin/sh\nkill "$@"\n', encoding="ascii")
    script.chmod(0o755)
    return folder.resolve()
