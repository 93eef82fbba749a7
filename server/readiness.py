"""A small HTTP server that tells whether requests should come here: for probes, balancers and health checks.

The management port tells it too, but whoever reaches that port controls TorchServe. This one answers two questions and
takes no orders.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lseg_serve.server.errors import ServerError

_READ_SECONDS = 10


@dataclass(frozen=True)
class State:
    """An answer: yes or no, and why."""

    holds: bool
    reason: str


Question = Callable[[], State]


@contextmanager
def answering(host: str, port: int, questions: dict[str, Question]) -> Iterator[int]:
    """Answer GET requests for the paths of `questions` while the context lasts: 200 for yes, 503 for no.

    The body is JSON, such as {"ready": false, "reason": "the model lseg is loading"} for /ready.

    Yields:
        The port, where `port` is 0 a free one.

    Raises:
        ServerError: it cannot listen there.
    """
    try:
        server = _Server((host, port), questions)
    except OSError as error:
        raise ServerError(f"the health address {host}:{port} cannot be had: {error}") from error
    thread = threading.Thread(target=server.serve_forever, name="readiness", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], questions: dict[str, Question]) -> None:
        self.questions = questions
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _READ_SECONDS  # for a client that opens a connection and is silent
    server_version = "lseg"
    sys_version = ""

    def do_GET(self) -> None:  # noqa: N802  (the name that BaseHTTPRequestHandler looks for)
        question = self.server.questions.get(self.path)
        if question is None:
            known = ", ".join(sorted(self.server.questions))
            self._answer(HTTPStatus.NOT_FOUND, {"error": f"no such path; accepted: {known}"})
            return
        state = question()
        status = HTTPStatus.OK if state.holds else HTTPStatus.SERVICE_UNAVAILABLE
        self._answer(status, {self.path.strip("/"): state.holds, "reason": state.reason})

    def _answer(self, status: HTTPStatus, content: dict[str, object]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  (its name in BaseHTTPRequestHandler)
        """Probes come every few seconds, and say nothing worth a line."""
