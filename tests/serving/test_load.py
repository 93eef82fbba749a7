"""The measurements of load and of a soak at a real server, for a few seconds each."""

from __future__ import annotations

from pathlib import Path

from lseg_serve.bench.clients import Endpoint
from lseg_serve.bench.overload import steps
from lseg_serve.bench.soak import soak
from lseg_serve.server import LocalServer
from tests.support.pictures import encoded, gradient
from tests.support.under_load import questions


def test_masks_under_load_are_right_and_what_is_too_much_is_refused(
    server: LocalServer, url: str, archive: Path
) -> None:
    rows = steps("TorchServe", Endpoint(url), questions(archive), seconds=1, clients=(1, 4))
    assert [(row.clients, row.offered_per_s is None) for row in rows] == [(1, True), (4, True), (0, False)]
    assert all((row.wrong, row.failed) == (0, 0) for row in rows)
    assert all(row.images_per_s and row.median_ms and row.p99_ms and row.p99_ms >= row.median_ms for row in rows)
    assert rows[-1].runs == round(rows[-1].offered_per_s or 0)


def test_a_soak_has_a_sample_of_each_process_and_no_failed_request(server: LocalServer) -> None:
    pictures = [encoded(gradient(48 + 8 * number, 64)) for number in range(4)]
    samples = soak(server, "lseg", pictures, seconds=3, every_s=1.5)
    assert [one.process for one in samples] == ["Java", "worker"] * 2
    assert samples[-1].requests > samples[0].requests > 0
    assert samples[-1].failed == 0
    assert all(one.resident_mb > 50 and one.handles > 2 and one.threads > 1 for one in samples)
