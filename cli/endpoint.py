"""What the subcommands that ask a running server share: its address, and its errors as exit statuses."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from lseg_serve.cli.manners import CommandError, Status
from lseg_serve.client import (
    BadInput,
    ClientError,
    LSegClient,
    NotReady,
    Overloaded,
    Refused,
    TimedOut,
    Unreachable,
)

_GONE = (Unreachable, TimedOut, NotReady, Overloaded)


def add_endpoint(parser: argparse.ArgumentParser) -> None:
    """The options that name a model at a server, and the one that bounds a wait."""
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="of the server (default: %(default)s)")
    parser.add_argument("--model", default="lseg", help="its name on the server (default: %(default)s)")
    parser.add_argument("--timeout", type=seconds, default=600, help="seconds for one answer (default: %(default)s)")


def add_management(parser: argparse.ArgumentParser) -> None:
    """The option that names a server's management port."""
    parser.add_argument(
        "--management-url",
        help="of the management port (default: port 8081 beside port 8080, and no other is known)",
    )


def seconds(text: str) -> float:
    """A positive number of seconds, from the command line."""
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 < number < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; accepted: seconds, more than 0")
    return number


def status_of(error: ClientError) -> Status:
    """The exit status for what went wrong with a request.

    A server that does not answer, not in time or not yet is unreachable; one that says no to the request has refused.
    """
    if isinstance(error, _GONE):
        return Status.UNREACHABLE
    return Status.REFUSED if isinstance(error, Refused | BadInput) else Status.FAULT


def is_unreachable(error: BaseException) -> bool:
    """Whether an error, or what caused it, is that a server does not answer."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _GONE):
            return True
        cause = cause.__cause__
    return False


@contextmanager
def answered() -> Iterator[None]:
    """Turn what goes wrong with a request into the end of the command."""
    try:
        yield
    except ClientError as error:
        raise CommandError(status_of(error), str(error)) from error


@contextmanager
def managing(arguments: argparse.Namespace) -> Iterator[LSegClient]:
    """A client of the server that `add_endpoint` and `add_management` name; its errors end the command."""
    with (
        answered(),
        LSegClient(
            arguments.url, arguments.model, arguments.timeout, management_url=arguments.management_url
        ) as client,
    ):
        yield client
