"""The processes of one server: which are this folder's, and how they end."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

_FRONTEND = "org.pytorch.serve.ModelServer"
_WORKER = "model_service_worker.py"
_FOLDER_OPTION = "-Djava.io.tmpdir="
_PID_FILE = ".model_server.pid"
_STOP_SECONDS = 60
_KILL_SECONDS = 30


def frontend(folder: Path) -> psutil.Process | None:
    """The Java process of the server whose temporary folder is `folder`; None if it does not run.

    The process id in the folder alone proves nothing: the folder may be a copy of another server's, and a number may
    have gone to another process. So the process is asked which folder it was started for.
    """
    try:
        process = psutil.Process(int((folder / _PID_FILE).read_text()))
        return process if _serves(process.cmdline(), folder) else None
    except (OSError, ValueError, psutil.Error):
        return None


def family(process: psutil.Process) -> list[psutil.Process]:
    """The process and all that it started."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return [process]


def workers_of(process: psutil.Process) -> set[psutil.Process]:
    """The workers that the Java process has now."""
    return {child for child in family(process) if _is_worker(_command(child))}


def listens(process: psutil.Process, port: int) -> bool:
    """Whether the process itself listens on a TCP port. Where the system does not tell, it is taken to."""
    # psutil 6 renamed the method.
    connections = getattr(process, "net_connections", None) or process.connections
    try:
        return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections("tcp"))
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def orphans(folder: Path) -> list[psutil.Process]:
    """Workers of the server of `folder` that outlived its Java process."""
    sockets = f"{folder.resolve()}{os.sep}"
    return [
        process
        for process in psutil.process_iter()
        if _is_worker(command := _command(process)) and any(part.startswith(sockets) for part in command)
    ]


def forget(folder: Path) -> None:
    """Remove the process id in `folder`, which TorchServe would believe: it starts only where that process is gone."""
    (folder / _PID_FILE).unlink(missing_ok=True)


def end(processes: Iterable[psutil.Process], leader: psutil.Process | None = None) -> None:
    """End `processes`, and return when they are gone. Where there is a `leader`, it alone is asked to end the others.

    Who does not end in a minute is killed.
    """
    members = list(processes)
    for process in [leader] if leader is not None else members:
        _signal(process, kill=False)
    _, alive = psutil.wait_procs(members, timeout=_STOP_SECONDS)
    for process in alive:
        _signal(process, kill=True)
    psutil.wait_procs(alive, timeout=_KILL_SECONDS)


def is_gone(process: psutil.Process) -> bool:
    """Whether the process has ended, whoever has its number now."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


def _serves(command: list[str], folder: Path) -> bool:
    own = [part.removeprefix(_FOLDER_OPTION) for part in command if part.startswith(_FOLDER_OPTION)]
    return _FRONTEND in command and any(Path(path).resolve() == folder.resolve() for path in own)


def _is_worker(command: list[str]) -> bool:
    return any(Path(part).name == _WORKER for part in command)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _signal(process: psutil.Process, *, kill: bool) -> None:
    with suppress(psutil.Error):  # it is gone already
        (process.kill if kill else process.terminate)()
