"""One TorchServe with a folder of its own for logs, sockets, process id and unpacked models."""

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

from lseg_serve.server.java import java_environment

# The checkout, or the folder of the installed package: config/ lies in both.
PROJECT = Path(__file__).resolve().parent.parent
# Where archives and logs go unless told otherwise: in the checkout, or in the current folder of an installed copy.
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
    """A server that did not start; the message holds the end of its log."""


@dataclass(frozen=True)
class Addresses:
    """The ports of one server, all on loopback; the defaults are those of config/config.properties."""

    inference: int = 8080
    management: int = 8081
    metrics: int = 8082
    grpc_inference: int = 7070
    grpc_management: int = 7071

    @property
    def inference_url(self) -> str:
        """Where predictions are answered."""
        return f"http://127.0.0.1:{self.inference}"

    @property
    def management_url(self) -> str:
        """Where models are described and scaled."""
        return f"http://127.0.0.1:{self.management}"

    def environment(self) -> dict[str, str]:
        """The same as TorchServe reads it, over what its configuration file says."""
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
    """A server, whether it runs or not: everything that tells one from another is its folder and its ports."""

    run_folder: Path
    addresses: Addresses = Addresses()
    config: Path = PROJECT / "config" / "config.properties"
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def logs(self) -> Path:
        """The folder of its logs."""
        return self.run_folder / "logs"

    def process(self) -> psutil.Process | None:
        """TorchServe's own (Java) process; None where it does not run."""
        try:
            process = psutil.Process(int((self.run_folder / "tmp" / ".model_server.pid").read_text()))
            return process if "org.pytorch.serve.ModelServer" in process.cmdline() else None
        except (OSError, ValueError, psutil.Error):
            return None

    def start(self, model_store: Path, models: Sequence[str]) -> None:
        """Start it with `models` ("name=file") of `model_store`, and return while they load.

        Raises:
            ServerError: it runs already, its folder's path is too long, or something else listens on one of its ports.
            FileNotFoundError: no Java.
        """
        if self.process() is not None:
            raise ServerError(f"a server runs already from {self.run_folder}; stop it first")
        temporary = self.run_folder / "tmp"
        self._check_socket_path(temporary)
        self._check_ports()
        temporary.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        for old in self.logs.glob("*.log"):
            old.unlink()
        # TMPDIR holds the process id, TEMP the workers' sockets and unpacked models: shared, two servers would clash.
        own = {"TMPDIR": temporary, "TEMP": temporary, "LOG_LOCATION": self.logs, "METRICS_LOCATION": self.logs}
        own_tools = _provide_kill(self.run_folder / "bin")
        environment = {
            # TorchServe's worker imports torch first, and that Gaudi's bridge in its default mode, before the handler
            # knows which mode is configured.
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
            subprocess.run(command, env=environment, stdout=console, stderr=console, start_new_session=True, check=True)

    def wait_until_ready(self, model: str, seconds: float = 600) -> None:
        """Return once every worker of `model` is ready; /ping is no help, it answers 200 while models load.

        Raises:
            ServerError: the server died, a worker could not load, or the time is up.
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
        """The workers of `model` as the management API describes them; empty where nothing answers yet."""
        with requests.Session() as session:
            # A proxy for the internet, named by the environment (http_proxy), cannot reach this machine's loopback.
            session.trust_env = False
            try:
                answer = session.get(f"{self.addresses.management_url}/models/{model}", timeout=30)
            except requests.ConnectionError:
                return []
        return list(answer.json()[0]["workers"]) if answer.ok else []

    def stop(self) -> bool:
        """Stop the server and everything it started; False where it did not run.

        The signal goes to Java itself: the `torchserve` command in the foreground does not pass it on.
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
        """Refuse ports in use: whoever listens there would answer for this server, which cannot start."""
        busy = {name: port for name, port in asdict(self.addresses).items() if _listens(port)}
        if busy:
            taken = [f"on 127.0.0.1:{port} already ({name.replace('_', ' ')} port)" for name, port in busy.items()]
            options = " ".join(f"{port_option(name)} PORT" for name in busy)
            raise ServerError(
                f"something listens {', '.join(taken)}; "
                f"stop it, or choose other ports: python -m server start {options}"
            )

    def _let_logs_settle(self) -> None:
        """Wait for a dead worker's last words: TorchServe notices its end before it has copied all that it said."""
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
    """A folder with a program `kill` in it, where the machine has none; None where it has.

    TorchServe ends its workers by that program. Bare Debian and slim container images lack it: it is in procps.
    Without it scaling down is answered with a 500, and a stopped server leaves its unpacked model behind. Every shell
    has the command built in, so a script of one line stands in for the program.
    """
    if shutil.which("kill") is not None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "kill"
    script.write_text('#!/bin/sh\nkill "$@"\n', encoding="ascii")
    script.chmod(0o755)
    return folder.resolve()
