"""Which connections to a port wait for an answer, told by the kernel's account of each of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from lseg_serve.server.errors import ServerError

# One line a connection: bytes that wait to be read, bytes not yet acknowledged, own end, other end, then details.
_LINE = re.compile(r"(\d+)\s+(\d+)\s+(\S+)\s+(\S+)\s*(.*)")
_DETAIL = re.compile(r"\b(bytes_sent|bytes_received|lastsnd|lastrcv):(\d+)")
_HAS_DETAILS = re.compile(r"\brto:")
_SECONDS = 10


@dataclass(frozen=True)
class Connection:
    """An established TCP connection, as its server sees it."""

    peer: str  # address:port of the client
    unread: int  # bytes that came and were not read
    unsent: int  # bytes written that the client has not acknowledged
    received: int = 0  # bytes since it was made
    sent: int = 0
    since_received: int = 0  # milliseconds
    since_sent: int = 0
    known: bool = True  # False: the kernel gives no more than the first three

    @property
    def waits(self) -> bool:
        """Whether the last word was the client's, or the answer is still on its way.

        The kernel's clock has ticks of 1 to 10 ms. Where question and answer fall into the same tick, as for a /ping on
        a connection that is kept, the connection counts as waiting: to wait in vain does less harm than to cut it off.
        """
        if not self.known or self.unread or self.unsent:
            return True
        return self.received > 0 and (self.sent == 0 or self.since_received <= self.since_sent)


def check_program() -> None:
    """Refuse a machine without the program `ss`.

    Raises:
        ServerError: it has none.
    """
    if shutil.which("ss") is None:
        raise ServerError("there is no program ss, which tells whose answers are due; install the package iproute2")


def connections_to(ports: Sequence[int]) -> list[Connection]:
    """The established connections whose server end is one of `ports`, in this network namespace.

    Raises:
        ServerError: `ss` fails.
    """
    ends = " or ".join(f"sport = :{port}" for port in ports)
    command = ["ss", "--no-header", "--tcp", "--info", "--numeric", "--oneline", "state", "established", f"( {ends} )"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise ServerError(f"ss does not tell the connections to {ends}: {error}") from error
    return [connection for line in run.stdout.splitlines() if (connection := read_line(line)) is not None]


def read_line(line: str) -> Connection | None:
    """The connection of a line of `ss`; None for a line of another form. A detail that `ss` leaves out is zero."""
    match = _LINE.match(line.strip())
    if match is None:
        return None
    details = {name: int(value) for name, value in _DETAIL.findall(match[5])}
    return Connection(
        peer=match[4],
        unread=int(match[1]),
        unsent=int(match[2]),
        received=details.get("bytes_received", 0),
        sent=details.get("bytes_sent", 0),
        since_received=details.get("lastrcv", 0),
        since_sent=details.get("lastsnd", 0),
        known=_HAS_DETAILS.search(match[5]) is not None,
    )
