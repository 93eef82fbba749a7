"""The Gaudi device: its modes, its precision, what it tells of itself, and what it says where it cannot be had."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.gaudi.process import child, run, simulated

LAZY = {"PT_HPU_LAZY_MODE": "1", "PT_HPU_AUTOLOAD": "0", "PT_HPU_PLACE_ON_CPU": "none"}


def _compare(hpu_mode: str) -> dict[str, Any]:
    """What a warm card gives for a few batches in both modes, against the CPU."""
    from tests.gaudi import workload

    card, cpu = workload.segmenter(hpu_mode=hpu_mode), workload.on_cpu()
    card.warm_up()
    from habana_frameworks.torch.simulated import counts  # not before: the worker loads it with its own settings

    before, largest, agreements = counts(), 0.0, []
    for seed, mode in enumerate(("fast", "accurate", "fast")):
        jobs = workload.jobs(5, np.random.default_rng(seed), mode)
        for found, expected in zip(card.segment_batch(jobs), cpu.segment_batch(jobs), strict=True):
            largest = max(largest, float((found.scores - expected.scores).abs().max()))
            agreements.append(workload.agreement(found, expected))
    done = counts().since(before)
    return {
        "device": card.device.describe(),
        "largest": largest,
        "agreement": min(agreements),
        "compiles": done.compiles,
        "replays": done.graph_replays,
        "graphs": len(card.shapes.graphs()),
        "compiled": card.device.graph_counts(),
    }


@pytest.mark.parametrize("hpu_mode", ["lazy", "graphs", "eager"])
def test_results_equal_those_of_the_cpu(hpu_mode: str, tmp_path: Path) -> None:
    settings = {**LAZY, "PT_HPU_LAZY_MODE": "0" if hpu_mode == "eager" else "1"}
    done = run(_compare, hpu_mode, SIMULATED_GAUDI_FOLDER=str(tmp_path), **settings)
    print(done)
    assert done["largest"] < 1e-4
    assert done["agreement"] > 0.999
    assert done["compiles"] == 0
    assert (done["replays"] > 0) == (hpu_mode == "graphs")
    assert done["device"] == f"hpu (GAUDI2, module unknown, {hpu_mode}, float32)"


def _bfloat16(attention: str) -> float:
    """Mask agreement of bfloat16 with float32 for the bundled model, over drawn scenes."""

    from lseg_serve.demo.cache import FIRST_TEST_SEED, scene_size
    from lseg_serve.demo.preset import IMAGE_SIZES
    from lseg_serve.demo.scenes import draw_scene
    from lseg_serve.demo.trials import NAMES
    from lseg_serve.demo.weights_file import WEIGHTS
    from lseg_serve.segmenter import Segmenter
    from lseg_serve.segmenter.config import HpuParams
    from tests.gaudi.workload import CONFIG

    hpu = HpuParams(bfloat16=True, recipe_cache="", max_graphs=24).replaced(attention=attention)
    config = CONFIG.replaced(static_image_size_params=IMAGE_SIZES)
    card = Segmenter.load(WEIGHTS, config.replaced(hpu=hpu))
    cpu = Segmenter.load(WEIGHTS, config.replaced(device="cpu"))
    same = pixels = 0
    for seed in range(FIRST_TEST_SEED, FIRST_TEST_SEED + 12):
        image = draw_scene(seed, scene_size(seed), held_out="exclude").image
        found, expected = (one.segment(image, NAMES).mask for one in (card, cpu))
        same, pixels = same + int((found == expected).sum()), pixels + found.size
    return same / pixels


@pytest.mark.parametrize("attention", ["products", "fused"])
def test_bfloat16_gives_the_masks_of_float32(attention: str, tmp_path: Path) -> None:
    settings = {**LAZY, "SIMULATED_GAUDI_FOLDER": str(tmp_path), "SIMULATED_GAUDI_FUSED_SDPA": "exact"}
    agreement = run(_bfloat16, attention, **settings)
    print(f"bfloat16 with attention {attention}, float32 on the CPU: {agreement:.2%} of the pixels have the same label")
    assert 0.995 <= agreement < 1


def _from_int8(archive: str) -> dict[str, Any]:
    """The mask of an int8 archive on the card, against the CPU's of the float32 weights."""

    from lseg_serve.demo.preset import IMAGE_SIZES
    from lseg_serve.demo.trials import NAMES
    from lseg_serve.demo.weights_file import WEIGHTS
    from lseg_serve.segmenter import Segmenter
    from tests.conftest import PROJECT
    from tests.gaudi.workload import CONFIG

    config = CONFIG.replaced(static_image_size_params=IMAGE_SIZES)
    card = Segmenter.load(archive, config, most_images=1)
    cpu = Segmenter.load(WEIGHTS, config.replaced(device="cpu"))
    picture = PROJECT / "demo" / "pictures" / "village.jpg"
    found, expected = (one.segment(picture, NAMES).mask for one in (card, cpu))
    counts = card.device.graph_counts()
    return {"agreement": float((found == expected).mean()), "fallbacks": None if counts is None else counts.fallbacks}


def test_an_int8_archive_runs_as_floats(tmp_path: Path) -> None:
    from lseg_serve.demo.weights_file import WEIGHTS
    from lseg_serve.export.exporter import export
    from lseg_serve.export.plan import Options
    from lseg_serve.model import int8

    if int8.unavailable_reason() is not None:
        pytest.skip(f"int8 cannot be exported here: {int8.unavailable_reason()}")
    archive = export(Options(WEIGHTS, tmp_path, precision="int8")).archive
    done = run(_from_int8, str(archive), SIMULATED_GAUDI_FOLDER=str(tmp_path), **LAZY)
    print(done)
    assert done["agreement"] > 0.99
    assert done["fallbacks"] == 0


@simulated(PT_HPU_LAZY_MODE="1", PT_HPU_AUTOLOAD="0", PT_HPU_PLACE_ON_CPU="none", SIMULATED_GAUDI_RECIPE_BYTES="4096")
def test_the_card_tells_its_memory_and_its_graphs() -> None:
    from tests.gaudi import workload

    segmenter = workload.segmenter()
    counts, memory = segmenter.device.graph_counts(), segmenter.device.memory()
    warmed = segmenter.warm_up()
    after, least = segmenter.device.graph_counts(), segmenter.device.memory()
    assert counts is not None and after is not None and memory is not None and least is not None
    assert after.compilations - counts.compilations == len(warmed.warm) == len(segmenter.shapes.graphs())
    assert after.fallbacks == 0
    assert least.used >= memory.used + 4096 * len(warmed.warm)


@simulated(PT_HPU_LAZY_MODE="1", PT_HPU_AUTOLOAD="0")
def test_what_the_move_to_the_card_leaves_is_no_part_of_the_first_graph() -> None:
    """The scalars of batch norms stay pending after the move. With them, the first text would be compiled again."""
    from tests.gaudi import workload

    segmenter = workload.segmenter()
    segmenter.warm_up()
    before = segmenter.device.graph_counts()
    assert before is not None
    segmenter.encode_labels(["cat"])
    assert segmenter.device.graph_counts() == replace(before, cache_hits=before.cache_hits + 1)


@simulated(PT_HPU_LAZY_MODE="1", PT_HPU_AUTOLOAD="0")
def test_positions_are_resized_on_the_host() -> None:
    """Planned sizes take as many resizes as the one that the positions were learned at; another takes one more."""
    import torch

    from tests.gaudi import workload

    segmenter = workload.segmenter()
    from habana_frameworks.torch.simulated import counts

    def resizes(height: int, width: int) -> int:
        pixels, before = segmenter.device.to_device(torch.zeros(1, 3, height, width)), counts()
        with torch.no_grad():
            segmenter.net.decode(pixels)
        return counts().since(before).types["upsample_bilinear2d float32"]

    learned = resizes(96, 96)
    for bucket in segmenter.shapes.image_buckets():
        assert resizes(bucket.height, bucket.width) == learned
    assert resizes(32, 96) == learned + 1


@simulated(PT_HPU_LAZY_MODE="1", PT_HPU_AUTOLOAD="0")
def test_warm_up_compiles_no_batch_that_never_comes() -> None:
    from lseg_serve.segmenter.config import StaticImageSizeParams
    from tests.gaudi import workload

    segmenter = workload.segmenter(1, static_image_size_params=StaticImageSizeParams(short_sizes=(64,)))
    before = segmenter.device.graph_counts().compilations
    segmenter.warm_up()
    warmed = segmenter.device.graph_counts().compilations
    assert warmed - before == 18 < 22
    for mode in ("fast", "accurate"):
        for job in workload.jobs(5, np.random.default_rng(0), mode):
            segmenter.segment_batch([job])
    segmenter.segment_batch(workload.jobs(5, np.random.default_rng(1), "fast"))  # more than was said come one by one
    assert segmenter.device.graph_counts().compilations == warmed


@simulated(PT_HPU_LAZY_MODE="1", PT_HPU_AUTOLOAD="0")
def test_warm_up_stops_in_time_and_says_what_stays_cold() -> None:
    from lseg_serve.segmenter.config import HpuParams
    from tests.gaudi import workload

    segmenter = workload.segmenter(hpu=HpuParams(bfloat16=False, recipe_cache="", warm_up_seconds=0))
    warmed = segmenter.warm_up()
    assert len(warmed.warm) <= 1
    assert (*warmed.warm, *warmed.cold) == tuple(segmenter.shapes.graphs())
    (result,) = segmenter.segment_batch(workload.jobs(1, np.random.default_rng(0), "fast"))  # cold, and answered
    assert result.mask.size


@simulated(PT_HPU_LAZY_MODE="1", PT_HPU_AUTOLOAD="0", SIMULATED_GAUDI_MEMORY_BYTES="500000000")
def test_warm_up_stops_before_the_card_is_full() -> None:
    from tests.gaudi import workload

    assert workload.segmenter().warm_up().warm == ()


def _choose(**changes: object) -> str:
    from lseg_serve.segmenter.devices import choose_device
    from tests.gaudi.workload import CONFIG

    return choose_device(CONFIG.replaced(**changes)).name


def _choose_auto() -> str:
    return _choose(device="auto")


def _choose_hpu() -> str:
    return _choose()


def _choose_with_fall_back() -> str:
    return _choose(fall_back=True)


def test_auto_prefers_the_card(tmp_path: Path) -> None:
    assert run(_choose_auto, SIMULATED_GAUDI_FOLDER=str(tmp_path), **LAZY) == "hpu"


def test_auto_takes_what_is_there_where_no_card_is(tmp_path: Path) -> None:
    none = {**LAZY, "SIMULATED_GAUDI_CARDS": "0"}
    assert run(_choose_auto, SIMULATED_GAUDI_FOLDER=str(tmp_path), **none) == "cpu"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"SIMULATED_GAUDI_CARDS": "0"}, "no Gaudi card was found"),
        (
            {"SIMULATED_GAUDI_FAIL_CARDS": "0", "HABANA_VISIBLE_MODULES": "0"},
            r"no Gaudi card can be used \(module 0: .*Generic failure",
        ),
        ({"HABANA_VISIBLE_MODULES": "zero"}, "HABANA_VISIBLE_MODULES is 'zero'; accepted: module numbers"),
    ],
    ids=["none", "broken", "misspelt"],
)
def test_a_card_that_cannot_be_had_is_an_error_or_by_configuration_the_cpu(
    settings: dict[str, str], message: str, tmp_path: Path
) -> None:
    environment = {**LAZY, "SIMULATED_GAUDI_FOLDER": str(tmp_path), **settings}
    with pytest.raises(AssertionError, match=f"device is 'hpu', but .*{message}"):
        run(_choose_hpu, **environment)
    assert run(_choose_with_fall_back, **environment) == "cpu (no hpu)"


def test_processes_share_the_cards_and_a_dead_ones_card_is_free_again(tmp_path: Path) -> None:
    settings = {**LAZY, "SIMULATED_GAUDI_CARDS": "2", "HABANA_VISIBLE_MODULES": "0,1", "HOME": str(tmp_path)}
    settings |= {"SIMULATED_GAUDI_FOLDER": str(tmp_path / "machine")}
    with child(_hold, **settings) as first, child(_hold, **settings) as second, child(_hold, **settings) as third:
        assert (first.value, second.value) == ("module 0", "module 1")
        assert third.error is not None
        assert "all 2 Gaudi cards (modules 0, 1) are taken by other workers; accepted: up to 2 workers" in third.error
    assert run(_hold, **settings) == "module 0"


@simulated(HABANA_VISIBLE_MODULES="0", SIMULATED_GAUDI_FAIL_CARDS="0", HOME="{tmp}")
def test_a_card_that_could_not_be_used_is_free_for_the_next_worker(tmp_path: Path) -> None:
    """Also while the error is still held, and the half-made device with it."""
    from lseg_serve.segmenter.devices import HpuDevice
    from lseg_serve.segmenter.devices.hpu.cards import take_card
    from lseg_serve.segmenter.errors import DeviceError
    from tests.gaudi.workload import CONFIG

    with pytest.raises(DeviceError, match="can be used") as failure:
        HpuDevice(CONFIG)
    claim = take_card(Path(CONFIG.hpu.card_locks).expanduser(), lambda: None)
    assert claim is not None and claim.module == 0
    assert failure.value is not None


def _described() -> tuple[str, str, int]:
    """What the device calls itself, and the module that the simulated driver gave it."""
    from lseg_serve.segmenter.devices import choose_device
    from tests.gaudi.workload import CONFIG

    device = choose_device(CONFIG)
    from habana_frameworks.torch.simulated.device import DEVICE

    assert DEVICE.card is not None
    return device.name, device.describe(), DEVICE.card.module_id


def test_a_card_that_a_stranger_holds_is_left_for_the_next_and_the_real_one_is_named(tmp_path: Path) -> None:
    """The stranger has a home of its own, as another user or container has, and so other locks."""
    settings = {**LAZY, "SIMULATED_GAUDI_CARDS": "2", "HABANA_VISIBLE_MODULES": "0,1"}
    settings |= {"SIMULATED_GAUDI_FOLDER": str(tmp_path / "machine")}
    with child(_hold, **settings, HOME=str(tmp_path / "stranger")) as stranger:
        assert stranger.value == "module 0"
        found = run(_described, **settings, HOME=str(tmp_path))
        assert found == ("hpu-1", "hpu (GAUDI2, module 1, lazy, float32)", 1)
        with child(_hold, **settings, HOME=str(tmp_path)) as second, child(_hold, **settings, HOME=str(tmp_path)) as no:
            assert second.value == "module 1"
            assert no.error is not None
            assert "(module 0: synStatus=8 [Device not found]" in no.error
            assert "; module 1: taken by another worker)" in no.error


def test_a_card_that_the_environment_names_is_had_or_none(tmp_path: Path) -> None:
    """Without a list of visible modules the driver would go on to any other card."""
    settings = {**LAZY, "SIMULATED_GAUDI_CARDS": "2", "HLS_MODULE_ID": "0"}
    settings |= {"SIMULATED_GAUDI_FOLDER": str(tmp_path / "machine")}
    refusal = r"no Gaudi card can be used \(module 0: .*Device acquire failed"
    with child(_hold, **settings, HOME=str(tmp_path / "stranger")), pytest.raises(AssertionError, match=refusal):
        run(_described, **settings, HOME=str(tmp_path))


_KEPT: list[Any] = []


def _hold() -> str:
    """Take a card until the process ends."""
    from lseg_serve.segmenter.devices import HpuDevice, choose_device
    from tests.gaudi.workload import CONFIG

    device = choose_device(CONFIG)
    assert isinstance(device, HpuDevice) and device.card is not None
    _KEPT.append(device)
    return f"module {device.card.module}"
