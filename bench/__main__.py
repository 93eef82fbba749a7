"""The command `python -m bench`: measure, and turn the results into the README's table and plot."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from lseg_serve.bench import decoding, endpoint, engines, load, machine, operators, overhead, report, scenes
from lseg_serve.bench.rows import RESULTS, write_rows
from lseg_serve.bench.setting import Setting
from lseg_serve.model.int8 import unavailable_reason


def main() -> int:
    """Run what the command line names."""
    options = _options()
    if options.command == "report":
        print(report.write(options.results))
        return 0
    measured = machine.describe()
    print(machine.save(measured, options.results), file=sys.stderr)
    if options.command == "machine":
        return 0
    if options.command == "scenes":
        rows = scenes.measure(tuple(options.precisions), options.scenes)
        print(write_rows(rows, "scenes", options.results))
        return 0
    if options.command == "decoding":
        print(write_rows(decoding.measure(options.runs), "decoding", options.results))
        return 0
    if options.command == "overhead":
        with tempfile.TemporaryDirectory(prefix="lseg-bench-") as folder:
            rows = overhead.measure(Path(folder), options.runs, options.checkpoint)
        print(write_rows(rows, "overhead", options.results))
        return 0
    setting = Setting(options.checkpoint, options.store, tuple(options.precisions))
    with tempfile.TemporaryDirectory(prefix="lseg-bench-") as folder:
        if options.command == "network":
            rows = engines.measure(setting, measured, options.runs)
        elif options.command == "endpoint":
            rows = endpoint.measure(setting, Path(folder), options.runs)
        elif options.command == "accurate":
            rows = endpoint.measure_accurate(setting, Path(folder))
        elif options.command == "load":
            rows = load.measure(setting, Path(folder), options.runs)
        else:
            print(operators.measure(setting, options.results))
            return 0
    print(write_rows(rows, options.command, options.results))
    return 0


def _precisions() -> list[str]:
    """Those that this machine can run."""
    return ["float32", "bfloat16"] + (["int8"] if unavailable_reason() is None else [])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Speed and memory beside the naive path.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the CSV files")
    commands = parser.add_subparsers(dest="command", required=True)
    full_size = {
        "network": "the network alone, and new words on a known image",
        "endpoint": "fast mode at a real server: sizes, numbers of labels, known and new ones",
        "accurate": "accurate mode at a real server, once",
        "load": "workers and clients: throughput, memory, start-up",
        "operators": "where the network's time goes",
    }
    for name, what in full_size.items():
        command = commands.add_parser(name, help=what)
        command.add_argument("checkpoint", type=Path, help="a full-size checkpoint; random weights will do")
        command.add_argument("--store", type=Path, default=Path("build/bench"), help="its archives, made where absent")
        command.add_argument("--runs", type=int, default=5)
        command.add_argument("--precisions", nargs="+", default=_precisions())
    command = commands.add_parser("scenes", help="accuracy of each precision on the bundled model's scenes")
    command.add_argument("--scenes", type=int, default=100)
    command.add_argument("--precisions", nargs="+", default=_precisions())
    command = commands.add_parser("overhead", help="what a request costs besides the network, with the bundled model")
    command.add_argument("--runs", type=int, default=100)
    command.add_argument("--checkpoint", type=Path, help="one at full size, to be measured as well")
    command = commands.add_parser("decoding", help="JPEGs to pixels, against Pillow alone")
    command.add_argument("--runs", type=int, default=20)
    commands.add_parser("machine", help="describe the machine and measure its matrix products")
    commands.add_parser("report", help="results -> the README's table and plot")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
