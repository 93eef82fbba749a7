"""`lseg evaluate`: accuracy, measured at the endpoint."""

from __future__ import annotations

import argparse

from lseg_serve.cli.endpoint import is_unreachable
from lseg_serve.cli.manners import CommandError, Status
from lseg_serve.evaluation.command import add_arguments, evaluate
from lseg_serve.evaluation.errors import EvaluationError

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Measure as the arguments say. Images that failed are tried again by the same command."""
    try:
        failed = evaluate(arguments)
    except EvaluationError as error:
        status = Status.UNREACHABLE if is_unreachable(error) else Status.REFUSED
        raise CommandError(status, f"evaluation failed: {error}") from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; the same command goes on from here") from None
    return Status.PARTLY_FAILED if failed else Status.OK
