"""`lseg label-studio`: an ML backend for Label Studio before a running server."""

from __future__ import annotations

import argparse
import os
from urllib.parse import urlsplit

from lseg_serve.annotation.errors import AnnotationError
from lseg_serve.annotation.label_studio import Settings, create_app, origin_of
from lseg_serve.annotation.vocabulary import words_in
from lseg_serve.cli.endpoint import add_endpoint, seconds
from lseg_serve.cli.listening import listener, port_number, require_extra, serve_app, url_of
from lseg_serve.cli.manners import CommandError, Status, add_json, write
from lseg_serve.client import BadInput

_REFUSED = "backend not served"
_LABEL_STUDIO, _API_KEY, _LOGIN = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "LSEG_LABEL_STUDIO_LOGIN"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_endpoint(parser)
    parser.set_defaults(timeout=90.0)
    parser.add_argument(
        "--management-url", help="of the server; tells the model's version (default: port 8081 by 8080)"
    )
    parser.add_argument(
        "--label-studio", metavar="URL", help=f"Label Studio's address, http://HOST:PORT (default: ${_LABEL_STUDIO})"
    )
    parser.add_argument("--host", default="127.0.0.1", help="to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port_number, default=9090, help="0: any that is free (default: %(default)s)")
    parser.add_argument("--mode", choices=("fast", "accurate"), help="(default: the server's)")
    parser.add_argument("--threshold", type=_share, help="softmax below which a pixel stays unlabelled, 0 to 1")
    parser.add_argument(
        "--background", default=(), type=_words, metavar="WORDS", help="asked for beside the labels; make no regions"
    )
    parser.add_argument(
        "--min-share", type=_share, default=0.001, help="of the image that a region has at least (default: %(default)s)"
    )
    parser.add_argument(
        "--tolerance", type=_pixels, default=1.0, help="pixels a polygon may be off the mask (default: %(default)s)"
    )
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        type=_public,
        metavar="NAME[:PORT]",
        help="links of tasks may lead there if it is an address of the internet; *.NAME: also below it; several times",
    )
    parser.add_argument(
        "--private-host",
        action="append",
        default=[],
        type=_private,
        metavar="NAME:PORT",
        help="links of tasks may lead there, whatever its address is; several times",
    )
    parser.add_argument(
        "--max-image-bytes", type=_count, default=50_000_000, help="of one image (default: %(default)s)"
    )
    parser.add_argument(
        "--image-timeout", type=seconds, default=30.0, help="seconds to fetch one image (default: %(default)g)"
    )
    parser.epilog = (
        f"{parser.epilog}\n${_API_KEY}: a token of Label Studio's; ${_LOGIN}: NAME:PASSWORD that it must send"
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until interrupted, which is the end that is meant."""
    require_extra(_REFUSED)
    try:
        settings = _settings(arguments)
        app = create_app(settings)
    except (ValueError, BadInput) as error:
        raise CommandError(Status.REFUSED, f"{_REFUSED}: {error}") from error
    with listener(arguments.host, arguments.port, _REFUSED) as one:
        url = url_of(one, arguments.host)
        document = {"url": url, "label_studio": settings.label_studio, "server": settings.url, "model": settings.model}
        write(arguments, document, f"the backend for {settings.label_studio} is at {url} (end with Ctrl-C)")
        serve_app(app, one)
    return Status.OK


def _settings(arguments: argparse.Namespace) -> Settings:
    address = arguments.label_studio or os.environ.get(_LABEL_STUDIO)
    if not address:
        raise ValueError(f"Label Studio's address is not known; accepted: --label-studio URL, or {_LABEL_STUDIO}")
    origin_of(address)
    login = os.environ.get(_LOGIN)
    name, colon, password = (login or "").partition(":")
    if login and not (name and colon and password):
        raise ValueError(f"{_LOGIN} is no login; accepted: NAME:PASSWORD")
    return Settings(
        label_studio=address.rstrip("/"),
        url=arguments.url,
        model=arguments.model,
        management_url=arguments.management_url,
        mode=arguments.mode,
        threshold=arguments.threshold,
        background=arguments.background,
        min_share=arguments.min_share,
        tolerance=arguments.tolerance,
        api_key=os.environ.get(_API_KEY) or None,
        credentials=(name, password) if login else None,
        public_hosts=frozenset(arguments.allowed_host),
        private_hosts=frozenset(arguments.private_host),
        max_image_bytes=arguments.max_image_bytes,
        image_seconds=arguments.image_timeout,
        answer_seconds=arguments.timeout,
    )


def _words(text: str) -> tuple[str, ...]:
    try:
        return words_in(text, "--background")
    except AnnotationError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _public(text: str) -> str:
    host, port = _host(text, "NAME, NAME:PORT or *.NAME, without a scheme and a path")
    if ":" in host:
        raise argparse.ArgumentTypeError(f"{text!r} is an IPv6 address; accepted: a name, or by --private-host")
    return host if port is None else f"{host}:{port}"


def _private(text: str) -> str:
    accepted = "NAME:PORT or [IPV6]:PORT"
    host, port = _host(text, accepted)
    if port is None or "*" in host:
        raise argparse.ArgumentTypeError(f"{text!r} names no port, or more than one host; accepted: {accepted}")
    return f"{host}:{port}"


def _host(text: str, accepted: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host.strip("*.") or parts.netloc != text or parts.username or not host.isascii() or "*" in host[1:]:
        raise argparse.ArgumentTypeError(f"{text!r} is no host; accepted: {accepted}")
    return host.rstrip("."), port


def _share(text: str) -> float:
    return _number(text, 1, "a number from 0 to 1")


def _pixels(text: str) -> float:
    return _number(text, 1000, "pixels, 0 to 1000")


def _number(text: str, most: float, accepted: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted; accepted: {accepted}")
    return number


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 10**10:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes; accepted: 1 or more")
    return int(text)
