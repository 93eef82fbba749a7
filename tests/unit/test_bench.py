"""The benchmark's own arithmetic: rows survive their file, operations are counted, the page gets its tables."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import nn

from lseg_serve.bench.endpoint import Served, stage_columns
from lseg_serve.bench.flops import counted
from lseg_serve.bench.image_files import FILES
from lseg_serve.bench.machine import Machine
from lseg_serve.bench.origins import Origin, current_commit, load_origins, save_origin
from lseg_serve.bench.plot import write_plot
from lseg_serve.bench.report import BEGIN, END, PAGE, as_markdown, plotted, write
from lseg_serve.bench.rows import RESULTS, Row, read_rows, write_rows
from lseg_serve.bench.setting import photo_at
from lseg_serve.bench.timing import Times, interleaved
from lseg_serve.model.int8 import Int8Conv2d, Int8Linear
from lseg_serve.segmenter import decode_image

ROWS = [
    Row("network", "naive", "process", runs=5, median_ms=4800.0, ratio=1.0, gflop=915.2, roofline_ms=4500.0),
    Row("network", "int8", "process", runs=5, median_ms=2000.0, ratio=2.4, max_difference=0.125, agreement=0.9951),
]
MACHINE = Machine("A processor", 2, ("avx512f",), 24.0, "Linux", {"torch": "2.13.0"}, 170.0, 350.0, 700.0)


def test_rows_survive_their_file(tmp_path: Path) -> None:
    write_rows(ROWS, "network", tmp_path)
    assert read_rows("network", tmp_path) == ROWS
    assert read_rows("absent", tmp_path) == []


def test_each_kind_of_file_has_its_seconds_and_memory_for_a_megapixel(tmp_path: Path) -> None:
    served = Row("kinds", "served", "process", image="4000x3000", cpu_s=0.6, peak_mb=120.0, note="PPM, 16 bits; 72 MB")
    write_rows(
        [served, replace(served, path="naive", cpu_s=24.0), replace(served, note="PFM; 144 MB")], "kinds", tmp_path
    )
    assert as_markdown(tmp_path).splitlines()[-3:] == [
        "|---|---|---|---|---|",
        "| PPM, 16 bits | 0.050 | 10.0 | 2.000 | 10.0 |",
        "| PFM | 0.050 | 10.0 | refused |  |",
    ]


def test_a_file_of_each_kind_is_one_that_is_served() -> None:
    photo = photo_at(64, 48).pixels
    for kind, written in FILES.items():
        found = decode_image(written(photo), 1_000_000)
        assert found.shape == photo.shape, kind
        lossless = kind.startswith(("BMP", "PPM", "PFM", "TIFF")) and "JPEG" not in kind
        if lossless and "run lengths" not in kind and "alpha" not in kind:
            assert np.abs(found.astype(int) - photo).max() <= (3 if "100" in kind else 1), kind


def test_the_origin_of_each_file_is_kept_beside_it(tmp_path: Path) -> None:
    assert load_origins(tmp_path) == {}
    first, second = Origin("abc1234", MACHINE), Origin("def5678-changed", replace(MACHINE, cores=8))
    save_origin("network", first, tmp_path)
    save_origin("load", second, tmp_path)
    assert load_origins(tmp_path) == {"network": first, "load": second}
    assert MACHINE.rate("int8") == 700.0


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_the_commit_is_that_of_the_checkout(tmp_path: Path) -> None:
    assert current_commit(tmp_path) == "unknown"

    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", "-C", str(tmp_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    (tmp_path / "file").write_text("one")
    git("init")
    git("add", "file")
    git("commit", "-m", "first")
    git("tag", "v1")
    commit = git("rev-parse", "HEAD")
    assert commit.startswith(current_commit(tmp_path))
    (tmp_path / "file").write_text("two")
    assert current_commit(tmp_path).endswith("-changed")


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
    save_origin("network", Origin("abc1234", MACHINE), tmp_path)
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write(tmp_path, page)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n") and text.endswith(f"\n{END}\nafter\n")
    assert "old" not in text
    assert "| int8 | 2000 | 2.40 |" in text and "99.51%" in text
    assert "Measured at commit abc1234 on A processor, 2 cores" in text


def test_a_table_without_an_origin_says_so(tmp_path: Path) -> None:
    write_rows(ROWS, "network", tmp_path)
    assert "Measured at commit unknown on a machine that is unknown." in as_markdown(tmp_path)


def test_each_machine_of_a_folder_has_tables_of_its_own(tmp_path: Path) -> None:
    for folder, processor in ((tmp_path, "Intel(R) Xeon(R) Processor"), (tmp_path / "other", "AMD EPYC")):
        write_rows(ROWS, "network", folder)
        save_origin("network", Origin("abc1234", replace(MACHINE, processor=processor)), folder)
    headings = [line for line in as_markdown(tmp_path).splitlines() if line.startswith("#")]
    assert headings == ["### The network alone, Intel Xeon", "### The network alone, AMD EPYC"]


def test_the_plot_shows_each_precision_and_is_the_same_each_time(tmp_path: Path) -> None:
    write_rows(ROWS, "network", tmp_path)
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"
    write_plot(plotted(tmp_path), first)
    write_plot(plotted(tmp_path), second)
    assert first.read_bytes() == second.read_bytes()
    texts = {element.text for element in ElementTree.parse(first).iter("{http://www.w3.org/2000/svg}text")}
    assert {"int8", " 2.4x   2.00 s", "naive 4.80 s"} <= texts
    assert "date" not in first.read_text()


def test_the_page_in_the_repository_is_what_the_results_give() -> None:
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(f"{BEGIN}\n")
    assert rest.partition(f"\n{END}")[0] == as_markdown(RESULTS)


def test_the_stages_of_a_request_add_up_to_its_time(tmp_path: Path) -> None:
    stages = {"decode_ms": 2.0, "text_ms": 0.5, "network_ms": 1480.0, "mask_ms": 6.0}
    cold = Row("endpoint", "int8", "endpoint", median_ms=1500.0, overhead_ms=19.0, ratio=3.0, **stages)  # type: ignore[arg-type]
    write_rows(
        [cold, replace(cold, path="naive", decode_ms=None), replace(cold, image="320x240")], "endpoint", tmp_path
    )
    text = as_markdown(tmp_path)
    _, _, stage_table = text.partition("| ms, 640x480 | decode |")
    rows = [line for line in stage_table.splitlines() if line.startswith("|")]
    assert rows[1:] == ["| int8, 20 labels | 2.0 | 0.5 | 1480.0 | 6.0 | 11.5 | 1500.0 | 19.0 |"]
    assert "| fast, 640x480, 20 labels | 1500 | 1500 (3.00x) |" in text


def test_the_overhead_of_a_request_does_not_depend_on_how_long_its_network_took() -> None:
    stages = [{"decode": 2.0, "text": 0.1, "network": time, "mask": 3.0} for time in (500.0, 100.0, 140.0, 300.0)]
    served = Served("", [], [], stages=stages)  # the first is the warm-up
    columns = stage_columns(served, Times(wall=(0.110, 0.151, 0.330), cpu=(0.0, 0.0, 0.0)))
    assert columns["network_ms"] == 140.0
    assert columns["overhead_ms"] == pytest.approx(11.0)


def test_a_page_without_markers_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="there is no <!-- bench: begin -->"):
        write(tmp_path, page)
