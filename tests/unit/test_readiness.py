"""The small server that tells whether requests should come."""

from __future__ import annotations

import socket

import pytest
import requests

from lseg_serve.server.errors import ServerError
from lseg_serve.server.readiness import State, answering


def _get(port: int, path: str) -> requests.Response:
    return requests.get(f"http://127.0.0.1:{port}{path}", timeout=10)


def test_a_question_is_answered_by_status_and_reason() -> None:
    state = State(False, "the model lseg is loading")
    with answering("127.0.0.1", 0, {"/ready": lambda: state, "/live": lambda: State(True, "it runs")}) as port:
        answer = _get(port, "/ready")
        assert (answer.status_code, answer.json()) == (503, {"ready": False, "reason": "the model lseg is loading"})
        state = State(True, "1 of 1 workers are ready")
        assert (_get(port, "/ready").status_code, _get(port, "/live").status_code) == (200, 200)
        assert _get(port, "/models").status_code == 404
        assert _get(port, "/models").json() == {"error": "no such path; accepted: /live, /ready"}
        assert requests.put(f"http://127.0.0.1:{port}/ready", timeout=10).status_code == 501
    with pytest.raises(requests.ConnectionError):
        _get(port, "/ready")


def test_a_silent_client_holds_nobody_up() -> None:
    ready = {"/ready": lambda: State(True, "")}
    with answering("127.0.0.1", 0, ready) as port, socket.create_connection(("127.0.0.1", port)):
        assert _get(port, "/ready").status_code == 200


def test_an_address_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = pytest.raises(ServerError, match=f"the health address 127.0.0.1:{port} cannot be had")
        with refused, answering("127.0.0.1", port, {}):
            pass
