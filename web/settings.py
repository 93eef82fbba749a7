"""What the app is set to: the TorchServes behind it, and its limits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Endpoint:
    """One TorchServe: where it is asked for masks, and where it is asked about its models."""

    name: str
    inference: str
    management: str

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read `NAME=URL` or `NAME=URL,MANAGEMENT_URL`. Without the second, the management port is the next one.

        Raises:
            ValueError: it is neither; the message says what is accepted.
        """
        name, separator, urls = text.partition("=")
        if not separator or not _NAME.fullmatch(name):
            raise ValueError(
                f"{text!r} names no server; accepted: NAME=URL, such as hpu=http://127.0.0.1:8080, with a name "
                "of up to 40 letters, digits, - and _"
            )
        inference, separator, management = urls.partition(",")
        host, port = _checked(inference)
        if not separator:
            if port >= 65535:
                raise ValueError(f"{inference!r} has no next port; accepted: NAME=URL,MANAGEMENT_URL")
            return cls(name, inference.rstrip("/"), f"{urlsplit(inference).scheme}://{host}:{port + 1}")
        _checked(management)
        return cls(name, inference.rstrip("/"), management.rstrip("/"))


@dataclass(frozen=True)
class Settings:
    """The endpoints, in the order in which the page offers them, and the limits of what passes through the app."""

    endpoints: tuple[Endpoint, ...]
    max_request_bytes: int = 100_000_000
    max_answer_bytes: int = 100_000_000
    timeout_seconds: float = 620.0  # TorchServe's own responseTimeout is 600, and its answer says more
    connections: int = 64  # to each endpoint
    # Host names by which browsers may reach the app; None: any. It keeps pages of other origins from reaching an app on
    # loopback through a name of their own that they let point there.
    hosts: frozenset[str] | None = frozenset({"127.0.0.1", "localhost", "::1"})
    static: Path = _PROJECT / "web" / "static"
    pictures: Path = _PROJECT / "demo"


def _checked(url: str) -> tuple[str, int]:
    """Host, in brackets where it is an IPv6 address, and port of an address that can be asked."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError) as error:
        raise ValueError(f"{url!r} is no address; accepted: http://HOST:PORT or https://HOST:PORT") from error
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise ValueError(f"{url!r} is no address of a server; accepted: http://HOST:PORT or https://HOST:PORT")
    return (f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname), port
