"""Which connections wait for an answer, told of real ones."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lseg_serve.server.connections import Connection, check_program, connections_to, read_line
from lseg_serve.server.drain import Patience, drain
from lseg_serve.server.errors import ServerError
from tests.support.waiting import eventually

TICK = 0.02  # seconds; more than one of the kernel's clock


@dataclass
class Pair:
    """Both ends of a connection."""

    client: socket.socket
    server: socket.socket
    port: int

    def seen(self) -> Connection:
        found = connections_to([self.port])
        assert [connection.peer for connection in found] == [f"127.0.0.1:{self.client.getsockname()[1]}"]
        return found[0]

    def ask(self) -> None:
        self.client.sendall(b"question")
        assert self.server.recv(100) == b"question"

    def answer(self) -> None:
        time.sleep(TICK)
        self.server.sendall(b"answer")
        assert self.client.recv(100) == b"answer"
        time.sleep(TICK)


@pytest.fixture
def pair() -> Iterator[Pair]:
    try:
        check_program()
    except ServerError as error:
        pytest.skip(str(error))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        server, _ = listener.accept()
        with client, server:
            yield Pair(client, server, port)


def test_a_connection_waits_from_its_question_to_its_answer(pair: Pair) -> None:
    assert not pair.seen().waits, "nothing was asked"
    for _ in range(2):
        pair.ask()
        assert pair.seen().waits, "also in the tick in which it was made"
        pair.answer()
        # Until the client's kernel has acknowledged it, up to 200 ms later, the answer is on its way.
        assert eventually(lambda: not pair.seen().waits, 5), "a client may keep it for later"


def test_a_question_that_is_not_read_waits(pair: Pair) -> None:
    pair.client.sendall(b"x" * 1000)
    assert eventually(lambda: pair.seen().unread == 1000, 5)
    assert pair.seen().waits


def test_an_answer_on_its_way_waits(pair: Pair) -> None:
    pair.ask()
    time.sleep(TICK)
    pair.server.setblocking(False)
    try:
        while True:
            pair.server.send(b"y" * 100_000)
    except BlockingIOError:  # the client reads nothing
        pass
    assert pair.seen().unsent > 0
    assert pair.seen().waits


def test_only_the_ports_that_are_asked_for_count(pair: Pair) -> None:
    pair.ask()
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert connections_to([other.getsockname()[1]]) == []
        assert len(connections_to([other.getsockname()[1], pair.port])) == 1


def test_a_drain_ends_with_the_last_answer(pair: Pair) -> None:
    pair.ask()
    patience = Patience(leave=0, answer=0.5)
    assert drain([pair.port], patience, alive=lambda: True).waiting == 1
    pair.answer()
    drained = drain([pair.port], Patience(leave=0, answer=60), alive=lambda: True)
    assert drained.waiting == 0
    assert drained.seconds < 30


def test_a_drain_ends_with_the_server(pair: Pair) -> None:
    pair.ask()
    assert drain([pair.port], Patience(leave=60, answer=60), alive=lambda: False).seconds < 30


@pytest.mark.parametrize(
    ("line", "waits"),
    [
        ("0 0 127.0.0.1:80 127.0.0.1:5", True),  # a kernel that tells no details
        ("0 0 127.0.0.1:80 127.0.0.1:5 cubic rto:204 lastsnd:9 lastrcv:9", False),
        ("0 0 [::ffff:127.0.0.1]:80 [::ffff:127.0.0.1]:5 rto:204 bytes_received:8 lastsnd:9 lastrcv:9", True),
        ("0 0 a:80 b:5 rto:204 bytes_sent:4 bytes_received:8 lastsnd:100 lastrcv:120", False),
        ("0 0 a:80 b:5 rto:204 bytes_sent:4 bytes_received:8 lastsnd:120 lastrcv:100", True),
        ("0 0 a:80 b:5 rto:204 bytes_sent:4 bytes_received:8 lastsnd:120", True),  # received just now
    ],
)
def test_lines_of_ss_are_read(line: str, waits: bool) -> None:
    connection = read_line(line)
    assert connection is not None
    assert connection.waits == waits


def test_other_lines_are_none() -> None:
    assert read_line("") is None
    assert read_line("Recv-Q Send-Q") is None


def test_a_machine_without_the_program_is_told_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ServerError, match=r"there is no program ss.* install the package iproute2"):
        check_program()
