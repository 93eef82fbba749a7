"""The simulation of a fleet: against arithmetic where nothing is left to chance, and what losses cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lseg_serve.bench.fleet import Fleet, main, simulate

EVEN = Fleet(images=10_000, workers=10, seconds=0.1, shard=100, start=5, overhead=0, lost_a_day=0, spread=0, slow=0)


def test_equal_workers_take_the_time_that_arithmetic_says() -> None:
    found = simulate(EVEN)
    assert found.seconds == pytest.approx(5 + 10 * 100 * 0.1)
    assert found.ideal == pytest.approx(100)
    assert (found.lost, found.repeated) == (0, 0)
    assert found.tail == pytest.approx(0)
    one_more = simulate(replace(EVEN, images=10_001))
    assert one_more.seconds == pytest.approx(105 + 0.1)
    assert one_more.tail == pytest.approx(0.1)


def test_losses_repeat_as_much_as_they_take() -> None:
    fleet = replace(EVEN, images=1_000_000, lost_a_day=20.0)
    found = simulate(fleet)
    days = fleet.images * fleet.seconds / 86_400
    assert found.lost == pytest.approx(20 * days, rel=0.5)
    assert found.repeated == pytest.approx(found.lost * fleet.shard / 2 / fleet.images, rel=0.5)
    assert found.seconds > simulate(replace(fleet, lost_a_day=0)).seconds


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--images", "1000", "--workers", "2", "--shards", "10", "100"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 4 and all(row.count("|") == 9 for row in rows)
    with pytest.raises(SystemExit):
        main(["--workers", "0"])
