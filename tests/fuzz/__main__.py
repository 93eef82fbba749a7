"""The command `python -m tests.fuzz`: a server and a front of its own, and as many hostile requests as wanted."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.conftest import PROJECT
from tests.fuzz.rpc import fuzz_rpc
from tests.fuzz.run import Report, fuzz
from tests.fuzz.sending import Target
from tests.fuzz.watching import State, state_of
from tests.serving.conftest import running
from tests.support.front import NOT_POSSIBLE, fronting

_PIECE = 1000  # requests between two looks at memory
_REST_SECONDS = 15  # a worker that is idle gives freed memory back


def main() -> int:
    """Fuzz, print the figures, and return the exit status: 0 without a fault, 1 with one."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Hostile requests to a server of its own."
    )
    parser.add_argument("--requests", type=int, default=1000, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first request (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=4, help="at a time (default: %(default)s)")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--past-the-front", action="store_true", help="to TorchServe itself, not through nginx")
    way.add_argument("--grpc", action="store_true", help="to TorchServe's gRPC port, which the front does not offer")
    parser.add_argument("--archive", type=Path, help="(default: the bundled model, exported anew)")
    options = parser.parse_args()
    through_front = not (options.past_the_front or options.grpc)
    if NOT_POSSIBLE is not None and through_front:
        print(f"{NOT_POSSIBLE}; accepted: --past-the-front, --grpc", file=sys.stderr)
        return 1
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(running(options.archive or _exported(folder), folder / "server"))
        target = Target("127.0.0.1", server.addresses.inference.port)
        if through_front:
            generous = dict.fromkeys(("rate", "burst", "address_rate", "address_burst"), "100000")
            front = stack.enter_context(fronting(folder / "front", server, **generous))
            target = Target("127.0.0.1", front.port, front.key, front.context)
        states, report, start = [state_of(server)], Report(), time.monotonic()
        for first in range(options.first, options.first + options.requests, _PIECE):
            last = min(first + _PIECE, options.first + options.requests)
            cases = [(options.seed, number) for number in range(first, last)]
            if options.grpc:
                part = fuzz_rpc(server.addresses.grpc_inference.port, cases, options.clients)
            else:
                part = fuzz(target, cases, options.clients)
            report.statuses += part.statuses
            report.faults += part.faults
            states.append(state_of(server))
            print(f"{report.requests}: {_line(states[-1])}, {len(report.faults)} faults", flush=True)
        seconds = time.monotonic() - start
        time.sleep(_REST_SECONDS)
        states.append(state_of(server))
    print("\n".join(report.lines()))
    print(f"{seconds:.0f} s; before: {_line(states[0])}; highest: {max(one.worker_megabytes for one in states)} MB")
    print(f"after {_REST_SECONDS} s of rest: {_line(states[-1])}")
    died = len({one.workers for one in states}) > 1
    print("a worker ended" if died else "no worker ended")
    return 1 if report.faults or died else 0


def _line(state: State) -> str:
    return f"worker {', '.join(map(str, state.workers))} {state.worker_megabytes} MB, Java {state.java_megabytes} MB"


def _exported(folder: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "export",
        "demo/weights/lseg-scenes.safetensors",
        "--output",
        str(folder / "store"),
    ]
    command += ["--config", "demo/model-config.yaml", "--labels", "demo/labels.txt", "--precision", "float32"]
    subprocess.run(command, cwd=PROJECT, check=True, stdout=sys.stderr)
    return folder / "store" / "lseg.mar"


if __name__ == "__main__":
    sys.exit(main())
