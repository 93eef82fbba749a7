"""What counts as flat in a soak, and that the soak in the repository is."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from lseg_serve.bench.__main__ import main
from lseg_serve.bench.load_tables import soak_table
from lseg_serve.bench.rows import RESULTS
from lseg_serve.bench.soak import mixed
from lseg_serve.bench.soak_samples import FILE, Sample, not_flat, read_samples, write_samples

FLAT = [
    replace(Sample(minute, name, 500 + minute % 3, 100 + minute % 2, 40, 1000 * minute, 0), minute=float(minute))
    for minute in range(1, 31)
    for name in ("Java", "worker")
]


def _growing(quantity: str, each_minute: float) -> list[Sample]:
    """The flat samples, but for a quantity of the worker that grows."""
    return [
        replace(one, **{quantity: round(getattr(one, quantity) + each_minute * one.minute)})
        if one.process == "worker"
        else one
        for one in FLAT
    ]


def test_noise_is_flat_and_so_is_a_fall() -> None:
    assert not_flat(FLAT) == []
    assert not_flat(_growing("resident_mb", -10)) == []


@pytest.mark.parametrize(
    ("quantity", "step", "word"),
    [("resident_mb", 3.0, "resident MB"), ("handles", 0.5, "open handles"), ("threads", 0.5, "threads")],
)
def test_growth_is_told(quantity: str, step: float, word: str) -> None:
    (fault,) = not_flat(_growing(quantity, step))
    assert fault.startswith(f"worker: {word} rose by ")
    assert "accepted: up to" in fault


def test_growth_while_it_warms_up_does_not_count() -> None:
    warming = [replace(one, resident_mb=one.resident_mb * min(1.0, one.minute / 10)) for one in FLAT]
    assert not_flat(warming) == []


def test_a_single_sample_has_no_trend() -> None:
    assert not_flat(FLAT[:2]) == []


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "x"])
def test_a_soak_without_a_length_is_refused(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["soak", f"--minutes={value}"])
    assert end.value.code == 2
    assert f"{value!r}; accepted: a number above 0" in capsys.readouterr().err


def test_samples_survive_their_file(tmp_path: Path) -> None:
    assert read_samples(tmp_path) == []
    write_samples(FLAT, tmp_path)
    assert read_samples(tmp_path) == FLAT


def test_the_table_has_each_process_and_quantity() -> None:
    lines = soak_table(FLAT)
    assert lines[0].startswith("| 30 minutes, 30000 requests, 0 failed | minute 10 |")
    assert [line.split(" | ")[0] for line in lines[2:-1]] == [
        f"| {name}, {quantity}"
        for name in ("Java", "worker")
        for quantity in ("resident MB", "open handles", "threads")
    ]


def test_requests_of_a_soak_are_mixed() -> None:
    rng = random.Random(0)
    found = [mixed(rng, [b"x" * 9, b"y" * 9]) for _ in range(400)]
    assert {one.fields.get("format") for one in found} >= {None, "png", "json", "npz", "zip", "embeddings"}
    assert any(one.fields.get("mode") == "accurate" for one in found)
    assert any(400 in one.statuses for one in found)


@pytest.mark.parametrize("folder", [path.parent for path in RESULTS.rglob(FILE)], ids=lambda path: path.name)
def test_the_soak_that_is_kept_is_flat(folder: Path) -> None:
    samples = read_samples(folder)
    assert samples[-1].minute >= 20
    assert samples[-1].failed == 0
    assert not_flat(samples) == []
