"""One TorchServe, with its own folder for logs, sockets, process id and unpacked models."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
import requests

from lseg_serve.client import session_for
from lseg_serve.server.java import java_environment

# The checkout, or the folder of the installed package. Both contain config/.
PROJECT = Path(__file__).resolve().parent.parent
# The default place for archives and logs: the checkout, or the current folder if the package is installed.
HOME = PROJECT if (PROJECT / "pyproject.toml").is_file() else Path.cwd()
# Linux takes no longer path for a Unix socket. TorchServe's workers open theirs in the run folder.
_SOCKET_PATH_BYTES = 107
_SOCKET_NAME = ".ts.sock.9000"
_STOP_SECONDS = 60
_POLL_SECONDS = 0.25
_SETTLE_POLLS = 20
# What TorchServe logs when a worker could not load its model.
_LOAD_FAILURES = ("Load model failed", "Backend worker process died", "Failed to load model")


class ServerError(RuntimeError):
    """The server did not start. The message has the end of its log."""


@dataclass(frozen=True)
class Addresses:
    """The ports of one server, all on loopback. The defaults are those of config/config.properties."""

    inference: int = 8080
    management: int = 8081
    metrics: int = 8082
    grpc_inference: int = 7070
    grpc_management: int = 7071

    @property
    def inference_url(self) -> str:
        """The base address for predictions."""
        return f"http://127.0.0.1:{self.inference}"

    @property
    def management_url(self) -> str:
        """The base address of the management API, which describes and scales models."""
        return f"http://127.0.0.1:{self.management}"

    def environment(self) -> dict[str, str]:
        """The ports as environment variables, which TorchServe prefers to its configuration file."""
        return {
            "TS_INFERENCE_ADDRESS": self.inference_url,
            "TS_MANAGEMENT_ADDRESS": self.management_url,
            "TS_METRICS_ADDRESS": f"http://127.0.0.1:{self.metrics}",
            "TS_GRPC_INFERENCE_PORT": str(self.grpc_inference),
            "TS_GRPC_MANAGEMENT_PORT": str(self.grpc_management),
        }


def port_option(name: str) -> str:
    """The option of `python -m server start` that sets the port `name` of `Addresses`."""
    return f"--{name.replace('_', '-')}-port"


@dataclass(frozen=True)
class LocalServer:
    """A server, running or not. Its folder and its ports identify it."""

    run_folder: Path
    addresses: Addresses = Addresses()
    config: Path = PROJECT / "config" / "config.properties"
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def logs(self) -> Path:
        """The folder of the server's logs."""
        return self.run_folder / "logs"

    def process(self) -> psutil.Process | None:
        """TorchServe's main process, a Java process; None if the server does not run."""
        try:
            process = psutil.Process(int((self.run_folder / "tmp" / ".model_server.pid").read_text()))
            return process if "org.pytorch.serve.ModelServer" in process.cmdline() else None
        except (OSError, ValueError, psutil.Error):
            return None

    def start(self, model_store: Path, models: Sequence[str]) -> None:
        """Start the server with `models` ("name=file") of `model_store`, and return while they still load.

        Raises:
            ServerError: the server runs already, something else listens on one of its ports, the run folder cannot be
                written to or its path is too long for sockets, or TorchServe refuses what it is given.
            FileNotFoundError: there is no Java.
        """
        if self.process() is not None:
            raise ServerError(f"a server runs already from {self.run_folder}; stop it first")
        temporary = self.run_folder / "tmp"
        self._check_socket_path(temporary)
        self._check_ports()
        self._make_folders(temporary, self.logs)
        # TMPDIR holds the process id, TEMP the workers' sockets and unpacked models. Two servers that shared these
        # folders would clash.
        own = {"TMPDIR": temporary, "TEMP": temporary, "LOG_LOCATION": self.logs, "METRICS_LOCATION": self.logs}
        own_tools = _provide_kill(self.run_folder / "bin")
        environment = {
            # A worker imports torch before the handler knows which mode of Gaudi is configured. By default torch would
            # then load Gaudi's bridge in the bridge's default mode.
            "PT_HPU_AUTOLOAD": "0",
            **os.environ,
            **java_environment(),
            **({"PATH": f"{own_tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}"} if own_tools else {}),
            **{name: str(path.resolve()) for name, path in own.items()},
            **self.addresses.environment(),
            **self.environment,
        }
        command = [sys.executable, "-m", "ts.model_server", "--start", "--ncs", "--ts-config", str(self.config)]
        command += ["--model-store", str(model_store), "--models", *models]
        with (self.logs / "console.log").open("w") as console:
            run = subprocess.run(command, env=environment, stdout=console, stderr=console, start_new_session=True)
        if run.returncode != 0:
            raise ServerError(self._explain("TorchServe refused to start"))

    def wait_until_ready(self, model: str, seconds: float = 600) -> None:
        """Wait until all workers of `model` are ready. /ping does not tell: it responds with 200 while models load.

        Raises:
            ServerError: the server died, a worker could not load its model, or `seconds` have passed.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process() is None:
                raise ServerError(self._explain("the server has stopped"))
            workers = self.workers(model)
            if workers and all(worker["status"] == "READY" for worker in workers):
                return
            if any(failure in self._log("ts_log.log") for failure in _LOAD_FAILURES):
                self._let_logs_settle()
                raise ServerError(self._explain(f"the model {model} did not load"))
            time.sleep(_POLL_SECONDS)
        raise ServerError(self._explain(f"the model {model} was not ready within {seconds:.0f} s"))

    def workers(self, model: str) -> list[dict[str, Any]]:
        """The workers of `model` as the management API describes them; none while it does not respond."""
        with session_for(self.addresses.management_url) as session:
            try:
                response = session.get(f"{self.addresses.management_url}/models/{model}", timeout=30)
            except requests.ConnectionError:
                return []
        return list(response.json()[0]["workers"]) if response.ok else []

    def stop(self) -> bool:
        """Stop the server and everything it started. Returns False if it did not run.

        The signal goes to the Java process itself, because the `torchserve` command in the foreground does not forward
        signals.
        """
        process = self.process()
        if process is None:
            return False
        family = [process, *process.children(recursive=True)]
        process.terminate()
        _, alive = psutil.wait_procs(family, timeout=_STOP_SECONDS)
        for orphan in alive:
            orphan.kill()
        return True

    def _check_socket_path(self, temporary: Path) -> None:
        excess = len(os.fsencode(temporary.resolve() / _SOCKET_NAME)) - _SOCKET_PATH_BYTES
        if excess > 0:
            raise ServerError(
                f"the path of the run folder {self.run_folder} is {excess} bytes too long for the workers' sockets; "
                "choose a shorter one: python -m server --run-folder FOLDER start"
            )

    def _check_ports(self) -> None:
        """Refuse ports in use: this server could not start, and requests would go to whoever listens there."""
        busy = {name: port for name, port in asdict(self.addresses).items() if _listens(port)}
        if busy:
            taken = [f"on 127.0.0.1:{port} already ({name.replace('_', ' ')} port)" for name, port in busy.items()]
            options = " ".join(f"{port_option(name)} PORT" for name in busy)
            raise ServerError(
                f"something listens {', '.join(taken)}; "
                f"stop it, or choose other ports: python -m server start {options}"
            )

    def _make_folders(self, temporary: Path, logs: Path) -> None:
        """Make both, and remove the logs of the last run: a failure that they tell of is not this run's."""
        try:
            temporary.mkdir(parents=True, exist_ok=True)
            logs.mkdir(parents=True, exist_ok=True)
            for old in logs.glob("*.log"):
                old.unlink()
        except OSError as error:
            raise ServerError(
                f"the run folder {self.run_folder} cannot be written to ({error}); "
                "accepted: --run-folder with a folder that this user may write to"
            ) from error

    def _let_logs_settle(self) -> None:
        """Wait until the logs stop growing: TorchServe notices a worker's death before it copies its last lines."""
        before, after = -1, self._log_size()
        for _ in range(_SETTLE_POLLS):
            if before == after:
                return
            time.sleep(2 * _POLL_SECONDS)
            before, after = after, self._log_size()

    def _log_size(self) -> int:
        return sum(path.stat().st_size for path in self.logs.glob("*.log"))

    def _log(self, name: str) -> str:
        path = self.logs / name
        return path.read_text(errors="replace") if path.exists() else ""

    def _explain(self, what: str) -> str:
        lines = (self._log("model_log.log") or self._log("ts_log.log") or self._log("console.log")).splitlines()
        return "\n".join([f"{what}; the end of its log in {self.logs}:", *lines[-25:]])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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
