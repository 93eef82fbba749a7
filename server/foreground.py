"""A server that is run as a container runs it: in the foreground, until it is told to end.

TorchServe's launcher starts Java and leaves; this process stays beside Java, because neither ends a server well. Java
does not pass over a SIGTERM, but resets connections whose answers are due. TorchServe's launcher in the foreground does
not even pass the signal on. So the signal comes here, and Java gets its own when nobody waits any more.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from lseg_serve.server.connections import check_program
from lseg_serve.server.drain import Drained, Patience, drain
from lseg_serve.server.errors import ServerError, StartFailedError
from lseg_serve.server.local import LocalServer
from lseg_serve.server.management import describe
from lseg_serve.server.readiness import State, answering

_PROBE_SECONDS = 5
_WATCH_SECONDS = 1


@dataclass
class ForegroundServer:
    """One server with one model, and its way from a start to an end."""

    server: LocalServer
    model: str  # its name
    patience: Patience
    say: Callable[[str], None]  # a line for the log
    _started: threading.Event = field(default_factory=threading.Event)
    _told_to_end: threading.Event = field(default_factory=threading.Event)

    def run(self, store: Path, archive: str, health: tuple[str, int]) -> Drained:
        """Serve the model until SIGTERM or SIGINT comes, and return when everyone is answered and TorchServe has ended.

        While it loads, serves and ends, the address `health` answers GET /ready and GET /live.

        Args:
            store: the model store.
            archive: the archive in it.
            health: host and port of the health address.

        Raises:
            ServerError: it does not start, or ends without having been told to.
            FileNotFoundError: there is no Java.
            KeyboardInterrupt: it was told to end before it was ready.
        """
        check_program()
        with answering(*health, {"/ready": self.ready, "/live": self.live}):
            self.server.serve(store, f"{self.model}={archive}")
            try:
                with self._ends_when_told():
                    self._started.set()
                    self.say(f"the model {self.model} is ready")
                    self._watch()
                    return self._drain()
            finally:
                self.server.stop()

    def ready(self) -> State:
        """Whether requests should come: a worker has loaded the model, and the server was not told to end."""
        if self._told_to_end.is_set():
            return State(False, "the server was told to end, and answers those who wait")
        try:
            model = describe(self.server.addresses.management_url, self.model, _PROBE_SECONDS)
        except ServerError as error:
            return State(False, str(error))
        if model is None:
            return State(False, "TorchServe does not answer")
        ready = sum(worker["status"] == "READY" for worker in model.workers)
        return State(ready > 0, f"{ready} of {len(model.workers)} workers of the model {self.model} are ready")

    def live(self) -> State:
        """Whether TorchServe answers, however busy its workers are. While it starts, nothing is wrong with it."""
        if not self._started.is_set():
            return State(True, "TorchServe starts")
        try:
            answers = describe(self.server.addresses.management_url, self.model, _PROBE_SECONDS) is not None
        except ServerError as error:
            return State(False, str(error))
        return State(answers, "TorchServe answers" if answers else "TorchServe does not answer")

    def _watch(self) -> None:
        process = self.server.process()
        while process is not None and not self._told_to_end.wait(_WATCH_SECONDS):
            process = self.server.process()
        if not self._told_to_end.is_set():
            raise StartFailedError("TorchServe has ended without having been told to; its log says more")

    def _drain(self) -> Drained:
        self.say("told to end: not ready any more")
        addresses = self.server.addresses
        ports = [addresses.inference.port, addresses.grpc_inference.port]
        return drain(ports, self.patience, alive=lambda: self.server.process() is not None)

    @contextmanager
    def _ends_when_told(self) -> Iterator[None]:
        def told(number: int, frame: FrameType | None) -> None:
            self._told_to_end.set()

        before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
