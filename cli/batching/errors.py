"""Errors of a run as ends of the command."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lseg_serve.batch.errors import BatchError, StoreError
from lseg_serve.cli.manners import CommandError, Status
from lseg_serve.model import CheckpointError
from lseg_serve.segmenter import ArchiveError, ConfigError, DeviceError, SegmenterError


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Give what the block raises its exit status.

    Raises:
        CommandError: the block failed.
    """
    try:
        yield
    except (BatchError, ArchiveError, CheckpointError, ConfigError, SegmenterError) as error:
        raise CommandError(Status.REFUSED, str(error)) from error
    except DeviceError as error:
        raise CommandError(Status.FAULT, str(error)) from error
    except StoreError as error:
        raise CommandError(Status.FAULT if error.is_full else Status.UNREACHABLE, str(error)) from error
