"""What the backend is set to: the endpoint, Label Studio, how masks are made, and what may be fetched."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Settings:
    """All of it, checked by those who make it."""

    label_studio: str  # its address: http://HOST:PORT
    url: str = "http://127.0.0.1:8080"  # of TorchServe
    model: str = "lseg"
    management_url: str | None = None  # of TorchServe; tells the model's version
    mode: str | None = None  # of the request; None: the server's
    threshold: float | None = None
    background: tuple[str, ...] = ()  # words that are asked for and make no region
    min_share: float = 0.001  # of the image's pixels; a label with less makes no region
    tolerance: float = 1.0  # pixels by which a polygon may be simplified
    api_key: str | None = field(default=None, repr=False)  # for Label Studio, in the place of the owner's token
    credentials: tuple[str, str] | None = field(default=None, repr=False)  # that Label Studio must send: name, password
    public_hosts: frozenset[str] = frozenset()  # NAME or *.NAME, each with a port or without
    private_hosts: frozenset[str] = frozenset()  # NAME:PORT, at whatever address
    max_image_bytes: int = 50_000_000
    image_seconds: float = 30.0  # for one image, redirects included
    answer_seconds: float = 90.0  # for all tasks of one call; Label Studio waits for 100
    concurrency: int = 4  # tasks at once


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host in small letters and port of an address http://HOST[:PORT] without more.

    Raises:
        ValueError: it is none.
    """
    accepted = "accepted: http://HOST:PORT or https://HOST:PORT"
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError) as error:
        raise ValueError(f"{url!r} is no address; {accepted}") from error
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise ValueError(f"{url!r} is no address of a server; {accepted}")
    return parts.scheme, parts.hostname.rstrip("."), port
