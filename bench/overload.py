"""From one client to more than can be served, by the clock: every mask compared, and how soon others are refused."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import yaml

from lseg_serve.bench.clients import Endpoint, Question, Tally, closed_loop, open_loop
from lseg_serve.bench.rows import Row
from lseg_serve.bench.scenes import CONFIG, exported
from lseg_serve.bench.setting import jpeg
from lseg_serve.demo.cache import FIRST_TEST_SEED
from lseg_serve.demo.scenes import draw_scene
from lseg_serve.demo.trials import NAMES
from lseg_serve.front.local import missing_program, started
from lseg_serve.segmenter import Segmenter
from lseg_serve.server import Addresses, LocalServer

CLIENTS = (1, 4, 16, 64)
SIZE = (640, 480)  # width, height
MODEL = "lseg"
_LABELS = 20
_SCENES = 16
_TOO_MUCH = 2  # times the most that was answered
# Of the front: the limits of a key and of an address are not what is measured.
_GENEROUS = dict.fromkeys(("rate", "burst", "address_rate", "address_burst", "requests", "address_requests"), "10000")


def measure(folder: Path, seconds: float, clients: Sequence[int] = CLIENTS) -> list[Row]:
    """Each number of `clients`, then requests at twice the rate that was answered at best: `seconds` each.

    The bundled model in one worker of one thread, without its feature cache, so that each request passes the network.
    Requests go to TorchServe itself, then through the front, where nginx is here.
    """
    archive = exported("float32", folder, config=uncached_config(folder))
    asked = questions(archive)
    rows: list[Row] = []
    with ExitStack() as stack:
        server = stack.enter_context(serving(archive, folder / "run"))
        ways = {"TorchServe": Endpoint(f"{server.addresses.inference_url}/predictions/{MODEL}")}
        if missing_program() is None:
            ways["the front"] = stack.enter_context(fronted(folder / "front", server))
        else:
            print(f"{missing_program()}: the front is left out", file=sys.stderr)
        for way, endpoint in ways.items():
            closed_loop(endpoint, asked, 4, seconds=5)  # Java compiles what every request runs
            rows += steps(way, endpoint, asked, seconds, clients)
    return rows


def steps(
    way: str, endpoint: Endpoint, asked: Sequence[Question], seconds: float, clients: Sequence[int] = CLIENTS
) -> list[Row]:
    """A row for each number of `clients`, then one for twice the rate that was answered at best."""
    rows = []
    for count in clients:
        tally = closed_loop(endpoint, asked, count, seconds)
        rows.append(_row(way, tally, count, None))
        print(_told(rows[-1]), file=sys.stderr, flush=True)
    rate = _TOO_MUCH * max(row.images_per_s or 0.0 for row in rows)
    rows.append(_row(way, open_loop(endpoint, asked, rate, seconds), 0, rate))
    print(_told(rows[-1]), file=sys.stderr, flush=True)
    return rows


def questions(archive: Path, count: int = _SCENES, size: tuple[int, int] = SIZE) -> list[Question]:
    """Drawn scenes as JPEGs, with the masks that the archive's own code makes of them in this process."""
    segmenter, names = Segmenter.load(archive), NAMES[:_LABELS]
    files = [jpeg(draw_scene(FIRST_TEST_SEED + number, size).image) for number in range(count)]
    return [Question.of(file, names, segmenter.segment(file, names).mask) for file in files]


def uncached_config(folder: Path) -> Path:
    """The bundled model's configuration without a feature cache, as a file in `folder`."""
    document = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    document["lseg"]["feature_cache_megabytes"] = 0
    path = folder / "uncached.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


@contextmanager
def serving(archive: Path, folder: Path) -> Iterator[LocalServer]:
    """A server on ports of its own, whose one worker computes in one thread: the clients need the other cores."""
    server = LocalServer(folder, Addresses.free(), environment={"OMP_NUM_THREADS": "1"})
    server.start(archive.parent, [f"{MODEL}={archive.name}"])
    try:
        server.wait_until_ready(MODEL)
        yield server
    finally:
        server.stop()


@contextmanager
def fronted(folder: Path, server: LocalServer) -> Iterator[Endpoint]:
    """The front before `server`, as a place to send requests to."""
    addresses = server.addresses
    inference = f"{addresses.inference.reachable_host}:{addresses.inference.port}"
    with started(folder, inference, addresses.management_url, **_GENEROUS) as front:
        context = ssl.create_default_context(cafile=str(front.certificate))
        yield Endpoint(f"https://127.0.0.1:{front.port}/predictions/{MODEL}", context, front.key)


def _row(way: str, tally: Tally, clients: int, offered: float | None) -> Row:
    answered = 1000 * np.array(tally.answered or [np.nan])
    return Row(
        scenario="load",
        path="float32",
        where="endpoint",
        clients=clients,
        labels=_LABELS,
        image=f"{SIZE[0]}x{SIZE[1]}",
        runs=tally.requests,
        median_ms=float(np.median(answered)),
        p90_ms=float(np.quantile(answered, 0.9)),
        p99_ms=float(np.quantile(answered, 0.99)),
        slowest_ms=float(answered.max()),
        fastest_ms=float(answered.min()),
        images_per_s=len(tally.answered) / tally.seconds,
        seconds=tally.seconds,
        offered_per_s=offered,
        refused=len(tally.refused),
        refusal_ms=1000 * max(tally.refused) if tally.refused else None,
        wrong=tally.wrong,
        failed=tally.failures.total(),
        note=way,
    )


def _told(row: Row) -> str:
    what = f"clients: {row.clients}" if row.offered_per_s is None else f"{row.offered_per_s:.0f} requests a second"
    return (
        f"{row.note}, {what}: {row.images_per_s:.1f} masks a second, median {row.median_ms:.0f} ms, "
        f"{row.refused} refused, {row.wrong} wrong, {row.failed} failed"
    )
