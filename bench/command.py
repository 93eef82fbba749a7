"""What `lseg bench` does: measure, and turn the results into the tables and the plot of docs/performance.md."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from math import inf
from pathlib import Path

from lseg_serve.bench import (
    answers,
    cost,
    decoding,
    embeddings,
    endpoint,
    engines,
    load,
    machine,
    masks,
    operators,
    overhead,
    overload,
    page,
    products,
    report,
    scenes,
    soak,
)
from lseg_serve.bench.machine import Machine
from lseg_serve.bench.origins import Origin, current_commit, save_origin
from lseg_serve.bench.rows import RESULTS, Row, write_rows
from lseg_serve.bench.setting import PROJECT, Setting
from lseg_serve.bench.soak_samples import write_samples
from lseg_serve.model.int8 import unavailable_reason


def measure(options: argparse.Namespace) -> Path | str | None:
    """Measure what the options name, and return the file that was written, or what was; None if nothing was."""
    if options.measured == "report":
        return report.write(options.results)
    measured = machine.describe()
    print(json.dumps(asdict(measured), indent=1), file=sys.stderr)
    if options.measured == "machine":
        return None
    if options.measured == "operators":
        path = operators.measure(_setting(options), options.results)
    elif options.measured == "soak":
        with tempfile.TemporaryDirectory(prefix="lseg-bench-") as folder:
            path = write_samples(soak.measure(Path(folder), options.minutes), options.results)
    else:
        with tempfile.TemporaryDirectory(prefix="lseg-bench-") as folder:
            rows = _rows(options, measured, Path(folder))
        path = write_rows(rows, options.measured, options.results)
    save_origin(options.measured, Origin(current_commit(PROJECT), measured), options.results)
    return path


def _rows(options: argparse.Namespace, measured: Machine, folder: Path) -> list[Row]:
    """Measure; what is written on the way goes to `folder`."""
    if options.measured == "scenes":
        return scenes.measure(tuple(options.precisions), options.scenes)
    if options.measured == "cost":
        return cost.measure()
    if options.measured == "masks":
        return masks.measure(options.runs)
    if options.measured == "embeddings":
        return embeddings.measure(folder, options.runs, options.checkpoint)
    if options.measured == "decoding":
        return decoding.measure(options.runs)
    if options.measured == "kinds":
        # Here and not at the top: tifffile is installed for development alone.
        from lseg_serve.bench import kinds

        return kinds.measure(options.runs)
    if options.measured == "page":
        return page.measure(folder, options.runs)
    if options.measured == "overhead":
        return overhead.measure(folder, options.runs, options.checkpoint)
    if options.measured == "answers":
        return answers.measure(options.runs)
    if options.measured == "products":
        return products.measure(options.checkpoint, options.runs, options.threads)
    if options.measured == "network":
        return engines.measure(_setting(options), measured, options.runs)
    if options.measured == "endpoint":
        return endpoint.measure(_setting(options), folder, options.runs)
    if options.measured == "accurate":
        return endpoint.measure_accurate(_setting(options), folder)
    if options.checkpoint is None:
        return overload.measure(folder, options.seconds)
    return load.measure(_setting(options), folder, options.runs)


def _setting(options: argparse.Namespace) -> Setting:
    return Setting(options.checkpoint, options.store, tuple(options.precisions))


def _precisions() -> list[str]:
    """The precisions that this machine can run."""
    return ["float32", "bfloat16"] + (["int8"] if unavailable_reason() is None else [])


def _above_zero(text: str) -> float:
    """A number of seconds or minutes, from the command line."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < inf:
        raise argparse.ArgumentTypeError(f"{text!r}; accepted: a number above 0")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command, and of its own subcommands."""
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the CSV files")
    commands = parser.add_subparsers(dest="measured", required=True, metavar="COMMAND", title="commands")
    full_size = {
        "network": "the network alone, and new labels on an image whose features are cached",
        "endpoint": "fast mode at a real server: sizes, numbers of labels, cached and new ones",
        "accurate": "accurate mode at a real server, once",
        "load": "1 to 64 clients, and twice what can be served; with a checkpoint, workers and clients instead",
        "operators": "where the network's time goes",
    }
    for name, what in full_size.items():
        command = commands.add_parser(name, help=what)
        optional = "?" if name == "load" else None
        command.add_argument("checkpoint", type=Path, nargs=optional, help="a full-size checkpoint, trained or random")
        command.add_argument(
            "--store",
            type=Path,
            default=Path("build/bench"),
            help="folder of its archives, which are exported if absent",
        )
        command.add_argument("--runs", type=int, default=5)
        command.add_argument("--precisions", nargs="+", default=_precisions())
        if name == "load":
            command.add_argument("--seconds", type=_above_zero, default=60, help="of each step without a checkpoint")
    command = commands.add_parser("products", help="linear layers by MKL and by oneDNN, one thread and two")
    command.add_argument("checkpoint", type=Path, help="a full-size checkpoint, trained or random")
    command.add_argument("--runs", type=int, default=7)
    command.add_argument("--threads", type=int, nargs="+", default=(1, 2), help="numbers of threads")
    command = commands.add_parser("scenes", help="accuracy of each precision on the bundled model's scenes")
    command.add_argument("--scenes", type=int, default=100)
    command.add_argument("--precisions", nargs="+", default=_precisions())
    command = commands.add_parser("overhead", help="what a request costs apart from the network")
    command.add_argument("--runs", type=int, default=100)
    command.add_argument("--checkpoint", type=Path, help="a full-size checkpoint to be measured as well")
    command = commands.add_parser("masks", help="masks with mean scores or a threshold, beside the plain mask")
    command.add_argument("--runs", type=int, default=15)
    command = commands.add_parser("answers", help="overlay, JSON and zip of large images: how they are encoded")
    command.add_argument("--runs", type=int, default=7)
    command = commands.add_parser("embeddings", help="bytes and milliseconds of maps and points on a known image")
    command.add_argument("--runs", type=int, default=20)
    command.add_argument("--checkpoint", type=Path, help="a full-size model in the place of the bundled one")
    command = commands.add_parser("decoding", help="JPEGs to pixels, beside Pillow")
    command.add_argument("--runs", type=int, default=20)
    commands.add_parser("cost", help="the estimate of a request's cost beside what it takes")
    command = commands.add_parser("kinds", help="every kind of file to pixels, beside Pillow: seconds and memory")
    command.add_argument("--runs", type=int, default=3)
    command = commands.add_parser("page", help="the page in Chromium: from a key to the painted mask; a large photo")
    command.add_argument("--runs", type=int, default=20)
    command = commands.add_parser("soak", help="mixed requests: memory, handles and threads each minute")
    command.add_argument("--minutes", type=_above_zero, default=60)
    commands.add_parser("machine", help="describe the machine and measure its matrix products")
    commands.add_parser("report", help="results -> the tables and the plot of docs/performance.md")
