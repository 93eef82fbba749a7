"""`lseg batch run`: shards one after the other in this process, or over a Ray cluster."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Generator

from lseg_serve.batch.errors import BatchError
from lseg_serve.batch.manifest import Manifest
from lseg_serve.batch.options import Options
from lseg_serve.batch.output import Output
from lseg_serve.batch.shard import Done, Spec, Worker
from lseg_serve.batch.stores import Store
from lseg_serve.cli.manners import CommandError, Status, note, progress, write_json


def run(arguments: argparse.Namespace) -> int:
    """Segment the chosen shards that are not done."""
    options = Options(
        None if arguments.labels is None else tuple(arguments.labels),
        None if arguments.template is None else tuple(arguments.template),
        arguments.mode,
        arguments.threshold,
        arguments.format,
        arguments.scores,
    ).checked()
    # Other machines have another working folder.
    manifest, output = Store.at(arguments.manifest).url, Store.at(arguments.output).url
    spec = Spec(manifest, output, str(arguments.model.absolute()), options, arguments.decoders)
    chosen = _chosen(arguments, Manifest(spec.manifest).about.shards)
    ready = Output(spec.output).done()
    left = [shard for shard in chosen if shard not in ready]
    failed = ok = 0
    # A worker starts even where nothing is left: it refuses options that are not those of the output.
    runs = _here(spec, left) if arguments.ray is None else _over_ray(spec, left, arguments)
    with contextlib.closing(runs), progress(len(chosen), len(chosen) - len(left), "shard") as bar:
        for done in runs:
            ok, failed = ok + done.ok, failed + done.failed
            write_json(done.document())
            bar.update()
    if not arguments.json:
        note(
            f"{len(left)} of {len(chosen)} shards done now, {len(chosen) - len(left)} before: {ok} images segmented, "
            f"{failed} failed; results in {arguments.output}"
        )
    return Status.OK  # images that failed are no fault of the run: `lseg batch status` tells of them


def _chosen(arguments: argparse.Namespace, shards: int) -> list[int]:
    if arguments.shard is not None:
        absent = [one for one in arguments.shard if one >= shards]
        if absent:
            raise BatchError(f"there is no shard {absent[0]}; accepted: 0 to {shards - 1}")
        return sorted(set(arguments.shard))
    first, every = arguments.part or (0, 1)
    return list(range(first, shards, every))


def _here(spec: Spec, shards: list[int]) -> Generator[Done, None, None]:
    worker = Worker(spec)
    try:
        for shard in shards:
            done = worker.run(shard)
            if done is not None:
                yield done
    finally:
        worker.close()


def _over_ray(spec: Spec, shards: list[int], arguments: argparse.Namespace) -> Generator[Done, None, None]:
    try:
        from lseg_serve.batch.cluster import run_over_cluster
    except ImportError as error:
        raise CommandError(Status.FAULT, f"{error}; `pip install 'lseg-serve[ray]'` has what it needs") from error
    yield from run_over_cluster(spec, shards, arguments.ray, arguments.actor, arguments.tries)
