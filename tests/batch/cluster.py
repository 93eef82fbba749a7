"""A Ray cluster of three nodes on this machine, a run over it, and faults: an actor, a node and the driver are killed.

It is run in a network namespace of its own, since Ray listens beyond loopback otherwise:

    unshare -n sh -c 'ip link set lo up; exec python -m tests.batch.cluster FOLDER SHARDS [faults]'

FOLDER holds `m.parquet` and `lseg.mar`. One line of JSON tells what was in flight at each fault.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from lseg_serve.batch.manifest import Manifest, shard_of
from lseg_serve.batch.options import Options
from lseg_serve.batch.output import Output
from lseg_serve.batch.shard import Spec
from tests.support.batches import DECODE, LABELS

_SECONDS = 1500


def spec_of(folder: Path, output: str) -> Spec:
    """The run."""
    manifest, model = str(folder / "m.parquet"), str(folder / "lseg.mar")
    return Spec(manifest, str(folder / output), model, Options(LABELS), decoders=1, decode=DECODE)


def drive(folder: Path, address: str) -> None:
    """What `lseg batch run --ray` does, with a decoder that some images kill."""
    from lseg_serve.batch.cluster import run_over_cluster

    spec = spec_of(folder, "ray")
    done = Output(spec.output).done()
    left = [shard for shard in range(Manifest(spec.manifest).about.shards) if shard not in done]
    for one in run_over_cluster(spec, left, address, ("CPU", 1)):
        print(json.dumps(one.document()), flush=True)


def orchestrate(folder: Path, shards: int, *, faults: bool) -> dict[str, Any]:
    """Start the cluster and the driver, do the damage, and wait for the end."""
    from ray.cluster_utils import Cluster

    os.environ |= {"OMP_NUM_THREADS": "1", "RAY_DISABLE_IMPORT_WARNING": "1"}
    begin = time.monotonic()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2 if faults else 1)]
    output = Output(str(folder / "ray"))
    found: dict[str, Any] = {"in_flight": {}, "cluster_seconds": round(time.monotonic() - begin, 1)}
    driver = _driver(folder, cluster.address)
    try:
        if faults:
            for name, share, act in (
                ("actor", 0.2, _kill_actor),
                ("node", 0.4, lambda: cluster.remove_node(nodes[-1], allow_graceful=False)),
                ("driver", 0.6, driver.kill),
            ):
                _wait(lambda share=share: len(output.done()) >= share * shards, driver)  # type: ignore[misc]
                before = _in_flight(output)
                act()
                found["in_flight"][name] = sorted(before | _in_flight(output))
                found[f"done_at_{name}"] = len(output.done())
            driver.wait(30)
            driver = _driver(folder, cluster.address)
        found["status"] = driver.wait(_SECONDS)
        found["seconds"] = round(time.monotonic() - begin, 1)
    finally:
        driver.kill()
        cluster.shutdown()
    return found


def _driver(folder: Path, address: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.batch.cluster", str(folder), "drive", address]
    log = (folder / "driver.log").open("ab")
    return subprocess.Popen(command, stdout=log, stderr=log)


def _wait(until: Callable[[], bool], driver: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _SECONDS
    while not until():
        if driver.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the driver ended with {driver.poll()}")
        time.sleep(0.1)


def _in_flight(output: Output) -> set[int]:
    """Shards that a worker has begun and not finished."""
    folders = Path(output.store.root, "attempts").glob("shard-*/*.json")
    return {shard_of(path.parent.name) for path in folders}


def _kill_actor() -> None:
    """Kill one of the processes that Ray names by their actor and its method."""
    for process in psutil.process_iter(["cmdline"]):
        if "ShardActor.run" in " ".join(process.info["cmdline"] or []):
            process.send_signal(signal.SIGKILL)
            return
    raise RuntimeError("there is no actor at work")


if __name__ == "__main__":
    place = Path(sys.argv[1])
    if sys.argv[2] == "drive":
        drive(place, sys.argv[3])
    else:
        print(json.dumps(orchestrate(place, int(sys.argv[2]), faults="faults" in sys.argv)))
