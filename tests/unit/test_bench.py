"""The benchmark's own arithmetic: rows survive their file, operations are counted, the README gets its tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from lseg_serve.bench.endpoint import Served, stage_columns
from lseg_serve.bench.flops import counted
from lseg_serve.bench.machine import Machine, load, save
from lseg_serve.bench.report import BEGIN, END, as_markdown, write
from lseg_serve.bench.rows import Row, read_rows, write_rows
from lseg_serve.bench.timing import Times, interleaved
from lseg_serve.model.int8 import Int8Conv2d, Int8Linear

ROWS = [
    Row("network", "naive", "process", runs=5, median_ms=4800.0, ratio=1.0, gflop=915.2, roofline_ms=4500.0),
    Row("network", "int8", "process", runs=5, median_ms=2000.0, ratio=2.4, max_difference=0.125, agreement=0.9951),
]
MACHINE = Machine("A processor", 2, ("avx512f",), 24.0, "Linux", {"torch": "2.13.0"}, 170.0, 350.0, 700.0)


def test_rows_survive_their_file(tmp_path: Path) -> None:
    write_rows(ROWS, "network", tmp_path)
    assert read_rows("network", tmp_path) == ROWS
    assert read_rows("absent", tmp_path) == []


def test_the_machine_survives_its_file(tmp_path: Path) -> None:
    save(MACHINE, tmp_path)
    assert load(tmp_path) == MACHINE
    assert MACHINE.rate("int8") == 700.0


@torch.no_grad()
def test_operations_are_two_for_each_multiply_add() -> None:
    linear, conv = nn.Linear(64, 96), nn.Conv2d(8, 16, 3, padding=1)
    x, image = torch.ones(10, 64), torch.ones(1, 8, 5, 7)
    products, sums = 2 * 10 * 64 * 96 / 1e9, 2 * 5 * 7 * 16 * 8 * 9 / 1e9
    assert counted(lambda: linear(x)).float_gflop == pytest.approx(products)
    assert counted(lambda: conv(image)).float_gflop == pytest.approx(sums)
    small = nn.ModuleList([Int8Linear(linear), Int8Conv2d(conv, rectified=True)])
    work = counted(lambda: (small[0](x), small[1](image)), small)
    assert work.float_gflop == 0
    assert work.int8_gflop == pytest.approx(products + sums)


def test_ways_take_turns_and_warm_ups_do_not_count() -> None:
    called: list[str] = []
    times = interleaved({name: lambda name=name: called.append(name) for name in "ab"}, runs=3, warm_up=1)  # type: ignore[misc]
    assert "".join(called) == "abababab"
    assert len(times["a"].wall) == len(times["b"].cpu) == 3


def test_the_tables_go_between_the_markers_and_nowhere_else(tmp_path: Path) -> None:
    write_rows(ROWS, "network", tmp_path)
    save(MACHINE, tmp_path)
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write(tmp_path, readme)
    text = readme.read_text()
    assert text.startswith(f"before\n{BEGIN}\n") and text.endswith(f"\n{END}\nafter\n")
    assert "old" not in text
    assert "| int8 | 2000 | 2.40 |" in text and "99.51%" in text
    assert "naive" in (tmp_path / "speed.svg").read_text()


def test_the_stages_of_a_request_add_up_to_its_time(tmp_path: Path) -> None:
    stages = {"decode_ms": 2.0, "text_ms": 0.5, "network_ms": 1480.0, "mask_ms": 6.0}
    cold = Row("endpoint", "int8", "endpoint", median_ms=1500.0, besides_ms=19.0, ratio=3.0, **stages)  # type: ignore[arg-type]
    write_rows(
        [cold, replace(cold, path="naive", decode_ms=None), replace(cold, image="320x240")], "endpoint", tmp_path
    )
    text = as_markdown(MACHINE, tmp_path)
    assert text.count("| int8, 20 labels | 2.0 | 0.5 | 1480.0 | 6.0 | 11.5 | 1500 | 19.0 |") == 1
    assert "naive, 20 labels" not in text
    assert "| fast, 640x480, 20 labels | 1500 | 1500 (3.00x) |" in text


def test_what_a_request_takes_besides_its_network_does_not_hang_on_how_long_that_took() -> None:
    stages = [{"decode": 2.0, "text": 0.1, "network": image, "mask": 3.0} for image in (500.0, 100.0, 140.0, 300.0)]
    served = Served("", [], [], stages=stages)  # the first is the warm-up
    columns = stage_columns(served, Times(wall=(0.110, 0.151, 0.330), cpu=(0.0, 0.0, 0.0)))
    assert columns["network_ms"] == 140.0
    assert columns["besides_ms"] == pytest.approx(11.0)


def test_a_readme_without_markers_is_refused(tmp_path: Path) -> None:
    save(MACHINE, tmp_path)
    readme = tmp_path / "README.md"
    readme.write_text("nothing")
    with pytest.raises(ValueError, match="there is no <!-- bench: begin -->"):
        write(tmp_path, readme)
