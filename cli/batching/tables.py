"""`lseg batch plan`, `status`, `merge` and `retry`: what needs no model."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from lseg_serve.batch.output import Output
from lseg_serve.batch.source import plan as plan_manifest
from lseg_serve.batch.summary import State, failures, state_of
from lseg_serve.batch.summary import merge as merge_tables
from lseg_serve.batch.summary import retry as retry_failed
from lseg_serve.cli.manners import Status, note, write, write_json
from lseg_serve.cli.segmentation.inputs import SUFFIXES

_SHOWN = 20  # failed images, to a person


def plan(arguments: argparse.Namespace) -> int:
    """Write a manifest."""

    def skipped(name: str) -> None:
        note(f"{name} is left out: its name is no valid UTF-8")

    about = plan_manifest(arguments.input, arguments.output, arguments.shard_size, SUFFIXES, skipped)
    text = f"{about.images} images in {about.shards} shards: {arguments.output}"
    write(arguments, {"manifest": arguments.output, **asdict(about)}, text)
    return Status.OK


def status(arguments: argparse.Namespace) -> int:
    """Tell how far an output is; with `--json` also every image that failed, a line each."""
    output = Output(arguments.output)
    state = state_of(output)
    if arguments.json:
        write_json(asdict(state))
        for row in failures(output):
            write_json(row)
    else:
        print(_words(state), flush=True)
        for number, row in enumerate(failures(output)):
            if number == _SHOWN:
                note(f"only the first {_SHOWN} are listed; --json has all")
                break
            print(f"  {row['key']}: {row['type']}: {row['message']}")
    return Status.PARTLY_FAILED if state.failed and state.is_complete else Status.OK


def merge(arguments: argparse.Namespace) -> int:
    """Write one table of statuses."""
    output = Output(arguments.output)
    name, rows = merge_tables(output)
    place = f"{output.store.url}/{name}"
    write(arguments, {"table": place, "images": rows}, f"{place}: {rows} images")
    return Status.OK


def retry(arguments: argparse.Namespace) -> int:
    """Let failed images be tried again."""
    shards = retry_failed(Output(arguments.output), arguments.type)
    count = "no shard is" if not shards else "1 shard is" if len(shards) == 1 else f"{len(shards)} shards are"
    text = f"{count} to be run again; what was segmented stays"
    write(arguments, {"shards": shards}, text)
    return Status.OK


def _words(state: State) -> str:
    failed = ", ".join(f"{count} {kind}" for kind, count in state.failed.items())
    lines = [
        f"{state.shards_done} of {state.shards} shards are done: {state.ok} of {state.images} images segmented, "
        f"{sum(state.failed.values())} failed" + (f" ({failed})" if failed else "")
    ]
    if state.rate and not state.is_complete:
        lines.append(f"{state.rate:.2f} images per second lately; {_duration(state.seconds_left)} left at that rate")
    lines += [f"{name}: {count} tries are under way or were killed" for name, count in state.killed.items()]
    return "\n".join(lines)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "nothing"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{seconds / 60:.1f} min"
