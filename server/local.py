"""One TorchServe, with its own folder for logs, sockets, process id and unpacked models."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from lseg_serve.server import processes
from lseg_serve.server.addresses import Addresses
from lseg_serve.server.archives import check_archive, fault_of, unpacked_bytes
from lseg_serve.server.environment import PROJECT, check_socket_path, environment_of, log_options
from lseg_serve.server.errors import ServerError
from lseg_serve.server.logs import CONSOLE, Logs
from lseg_serve.server.management import describe
from lseg_serve.server.settings import Settings

_POLL_SECONDS = 0.25
_LOCK = "start.lock"
# On the disk, besides the unpacked archives: TorchServe's process id, sockets, and the first logs.
_ROOM_BYTES = 8_000_000
# A Gaudi may compile for half an hour. TorchServe ends a worker that loads for longer than startupTimeout, which shows.
_PATIENCE_SECONDS = 3600


@dataclass(frozen=True)
class LocalServer:
    """A server, running or not. Its folder and its addresses identify it."""

    run_folder: Path
    addresses: Addresses = field(default_factory=Addresses)
    config: Path = PROJECT / "config" / "config.properties"
    environment: Mapping[str, str] = field(default_factory=dict)
    console_log: Path | None = None  # a log4j2 configuration that logs to the console; None: logs are files

    @property
    def logs(self) -> Path:
        """The folder of the server's logs."""
        return self.run_folder / "logs"

    @property
    def temporary(self) -> Path:
        """The folder of the server's process id, of its workers' sockets and of unpacked models."""
        return self.run_folder / "tmp"

    def process(self) -> psutil.Process | None:
        """TorchServe's main process, a Java process; None if the server does not run."""
        return processes.frontend(self.temporary)

    def serve(self, model_store: Path, model: str) -> None:
        """Stop the server if it runs, start it with `model` ("name=file"), and return when the model is ready.

        A server that does not become ready, or whose start is interrupted, is stopped.

        Raises:
            ServerError: it does not start, its model does not load, or another start in this folder is under way.
            FileNotFoundError: there is no Java.
        """
        with self._alone():
            self.stop()
            try:
                self._start(model_store, [model])
                self.wait_until_ready(model.partition("=")[0], _PATIENCE_SECONDS)
            except BaseException:
                self.stop()
                raise

    def start(self, model_store: Path, models: Sequence[str]) -> None:
        """Start the server with `models` ("name=file") of `model_store`, and return while they still load.

        Raises:
            ServerError: the server runs already or is being started, something else listens on one of its ports, the
                run folder cannot be written to, is on a full disk or has too long a path for sockets, an archive is
                missing or damaged, or TorchServe refuses what it is given.
            FileNotFoundError: there is no Java.
        """
        with self._alone():
            self._start(model_store, models)

    def wait_until_ready(self, model: str, seconds: float = 600) -> None:
        """Wait until all workers of `model` are ready. /ping does not tell: it responds with 200 while models load.

        The management port and the processes are asked, never the logs, into which a client may write. The port is not
        asked before this server listens on it: until then, another program may have taken it, and may answer.

        Raises:
            ServerError: the server died, it has not registered the model, a worker ended before it was ready, or
                `seconds` have passed.
        """
        logs = Logs(self.logs)
        deadline = time.monotonic() + seconds
        seen: set[psutil.Process] = set()
        while time.monotonic() < deadline:
            process = self.process()
            if process is None:
                raise logs.console_failure("the server has stopped")
            seen |= processes.workers_of(process)
            listens = processes.listens(process, self.addresses.management.port)
            description = describe(self.addresses.management_url, model) if listens else None
            if description is not None and not description.registered:
                raise self._not_registered(model, process)
            if description is not None and description.ready:
                return
            if any(processes.is_gone(worker) for worker in seen):
                raise logs.worker_failure(f"the model {model} did not load")
            time.sleep(_POLL_SECONDS)
        raise logs.failure(f"the model {model} was not ready within {seconds:.0f} s")

    def workers(self, model: str) -> list[dict[str, Any]]:
        """The workers of `model` as the management API describes them; none while it does not respond."""
        description = describe(self.addresses.management_url, model)
        return list(description.workers) if description is not None else []

    def stop(self) -> bool:
        """Stop the server and everything it started, and return when it is gone. Returns False if it did not run.

        The signal goes to the Java process itself, because the `torchserve` command in the foreground does not forward
        signals. Workers whose Java process was killed are ended as well, and what it unpacked is removed.
        """
        process = self.process()
        if process is not None:
            processes.end(processes.family(process), leader=process)
        left = processes.orphans(self.temporary)
        processes.end(left)
        for unpacked in (self.temporary / "models").glob("*"):
            shutil.rmtree(unpacked, ignore_errors=True)
        return process is not None or bool(left)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold off other starts in this folder."""
        self._make_folders()
        try:
            with FileLock(self.run_folder / _LOCK, blocking=False):
                yield
        except Timeout as error:
            raise ServerError(
                f"another start in {self.run_folder} is under way; wait for it, or choose another --run-folder"
            ) from error

    def _start(self, model_store: Path, models: Sequence[str]) -> None:
        if self.process() is not None:
            raise ServerError(f"a server runs already from {self.run_folder}; stop it first")
        archives = [model.partition("=")[2] or model for model in models]
        for archive in archives:
            check_archive(model_store, archive)
        self._check_addresses_count()
        self.addresses.check_free()
        self.stop()  # what a killed server left
        self._check_room(sum(unpacked_bytes(model_store, archive) for archive in archives))
        processes.forget(self.temporary)
        Logs(self.logs).clear()
        command = [sys.executable, "-m", "ts.model_server", "--start", "--ncs", "--ts-config", str(self.config)]
        environment = environment_of(self.run_folder, self.temporary, self.logs)
        # Lines of JSON of a server in the background go to a file of bounded size: its console is one without bounds.
        environment["LSEG_LOG_TARGET"] = "file" if self.console_log is None else "console"
        environment |= {"TS_CONFIG_FILE": str(self.config), **self.addresses.environment(), **self.environment}
        command += log_options(self.config, environment, self.console_log)
        command += ["--model-store", str(model_store), "--models", *models]
        with (self.logs / CONSOLE).open("w") as file:
            console = file if self.console_log is None else None
            run = subprocess.run(command, env=environment, stdout=console, stderr=console, start_new_session=True)
        if run.returncode != 0:
            raise Logs(self.logs).console_failure("TorchServe refused to start")

    def _check_addresses_count(self) -> None:
        """Refuse addresses of our own where the file does not let the variables override it that carry them."""
        settings = Settings.read(self.config, {})
        if not settings.follows_environment and Addresses.configured(settings) != self.addresses:
            raise ServerError(
                f"{self.config} has no enable_envvars_config=true, so its own addresses hold; "
                "accepted: that line, or no options for ports"
            )

    def _make_folders(self) -> None:
        check_socket_path(self.run_folder, self.temporary)
        try:
            self.temporary.mkdir(parents=True, exist_ok=True)
            self.logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ServerError(
                f"the run folder {self.run_folder} cannot be written to ({error}); "
                "accepted: --run-folder with a folder that this user may write to"
            ) from error

    def _check_room(self, needed: int) -> None:
        """Refuse a disk that is too full. TorchServe starts there, cannot write its process id, and is lost."""
        needed, free = needed + _ROOM_BYTES, shutil.disk_usage(self.temporary).free
        if free < needed:
            raise ServerError(
                f"the disk of {self.run_folder} has {free / 1e6:.0f} MB left; accepted: at least "
                f"{needed / 1e6:.0f} MB, for the unpacked archive and the first logs, or --run-folder on another disk"
            )

    def _not_registered(self, model: str, process: psutil.Process) -> ServerError:
        """The error for a server that came up without its model: it passes over archives that it cannot read."""
        command = process.cmdline()
        store = Path(command[command.index("-s") + 1])
        names = [one.partition("=")[2] for one in command if one.startswith(f"{model}=")]
        fault = fault_of(store, names[0]) if names else None
        if fault is None:
            return Logs(self.logs).failure(f"the model {model} was not loaded")
        return ServerError(f"the model {model} was not loaded: {fault}")
