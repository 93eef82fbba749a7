"""What a request costs is estimated, and refused where that is more than the configuration allows."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from lseg_serve.handler.pipeline import respond
from lseg_serve.handler.responses import ServerInfo
from lseg_serve.model import LSeg
from lseg_serve.segmenter import (
    Config,
    CostModel,
    Job,
    Rates,
    RequestTooCostlyError,
    Segmenter,
    StaticImageSizeParams,
    Work,
)
from lseg_serve.segmenter.config import AccurateParams
from tests.support.pictures import encoded, gradient

# A pass of 64x64 pixels takes 4.096 s, the score of a label at a pixel 1 ms, in a softmax another 2 ms.
RATES = Rates(network=1e-3, score=1e-3, softmax=2e-3)
CONFIG = Config(
    device="cpu",
    static_image_size_params=StaticImageSizeParams(hw_ratios=((1, 1),), short_sizes=(64,)),
    accurate=AccurateParams(crop_size=96, base_size=104, stride=64),
)
SERVER = ServerInfo("lseg", "1.0", "cpu", 1_000_000)


@pytest.fixture
def segmenter(small_net: LSeg) -> Segmenter:
    """A segmenter whose machine is known to be very slow."""
    segmenter = Segmenter(small_net, config=CONFIG, label_set=("wall", "floor"))
    segmenter.costs = CostModel(RATES, segmenter.shapes, CONFIG.accurate)
    return segmenter


@pytest.fixture
def costs(segmenter: Segmenter) -> CostModel:
    assert segmenter.costs is not None
    return segmenter.costs


def test_fast_mode_is_one_pass_and_each_label_at_each_pixel(costs: CostModel) -> None:
    work = Work(height=100, width=200, labels=3, mode="fast")
    assert costs.passes(work) == 1
    assert costs.seconds(work) == pytest.approx(4.096 + 3 * (4.096 + 20))
    assert costs.seconds(replace(work, softmax=True)) == pytest.approx(4.096 + 3 * (4.096 + 20 + 40))


@pytest.mark.parametrize(
    ("size", "passes"),
    # Scales 0.5, 0.75, 1, 1.25, 1.5, 1.75 of 104 pixels; windows of 96 every 64; each mirrored as well.
    [
        ((75, 100), 2 * (1 + 1 + 2 + 4 + 4 + 6)),
        ((1, 1), 2 * (1 + 1 + 4 + 4 + 4 + 9)),
        ((1, 9000), 2 * (1 + 1 + 2 + 2 + 2 + 3)),
    ],
    ids=["4:3", "one pixel", "a line"],
)
def test_accurate_mode_is_as_many_passes_as_it_makes(
    size: tuple[int, int], passes: int, small_net: LSeg, costs: CostModel
) -> None:
    """The number is compared with what really goes through the network, too."""
    assert costs.passes(Work(*size, labels=2, mode="accurate")) == passes
    seen: list[int] = []
    handle = small_net.image_encoder.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    try:
        Segmenter(small_net, config=CONFIG).segment(gradient(*size), ["cat", "grass"], mode="accurate")
    finally:
        handle.remove()
    assert sum(seen) == passes


def test_accurate_mode_resizes_each_scale_to_the_image(costs: CostModel) -> None:
    small, large = (Work(side, side, labels=5, mode="accurate") for side in (100, 200))
    assert costs.seconds(large) - costs.seconds(small) == pytest.approx(6 * 5 * (200**2 - 100**2) * 1e-3)


def test_a_tiny_image_costs_its_passes(costs: CostModel) -> None:
    tiny = Work(1, 1, labels=255, mode="accurate")
    passes = costs.passes(tiny) * 96 * 96 * 1e-3
    assert costs.seconds(tiny) == pytest.approx(passes * (1 + 255), rel=1e-4)


def test_what_costs_too_much_is_refused_with_its_numbers_and_what_would_do(costs: CostModel) -> None:
    work = Work(height=500, width=2000, labels=200, mode="accurate")
    with pytest.raises(RequestTooCostlyError) as raised:
        costs.check(work, 500_000)
    message = raised.value.message
    assert "2000x500 pixels with 200 labels take an estimated" in message
    assert f"estimated {costs.seconds(work):.0f} s in accurate mode ({costs.passes(work)} passes)" in message
    assert "accepted: up to 500000 s (max_request_seconds in model-config.yaml)" in message
    assert message.endswith(", or mode fast")
    labels = int(re.findall(r"up to (\d+) labels", message)[0])
    costs.check(replace(work, labels=labels), 500_000)
    with pytest.raises(RequestTooCostlyError):
        costs.check(replace(work, labels=labels + 1), 500_000)
    share = float(re.findall(r"up to ([\d.]+) megapixels", message)[0])
    side = (share * 1e6 / 4) ** 0.5
    costs.check(replace(work, height=int(side), width=int(4 * side)), 500_000)
    costs.check(replace(work, mode="fast"), 500_000)
    costs.check(work, int(costs.seconds(work)) + 1)


def test_a_limit_below_the_network_alone_offers_nothing_that_would_be_refused(costs: CostModel) -> None:
    with pytest.raises(RequestTooCostlyError, match=r"in fast mode \(1 pass\).*less than the network alone takes$"):
        costs.check(Work(64, 64, labels=1, mode="fast"), 4)


def _asked(segmenter: Segmenter, side: int, **fields: str) -> dict[str, bytearray]:
    row = {name: bytearray(value.encode()) for name, value in fields.items()}
    return {"image": bytearray(encoded(gradient(side, side))), **row}


def test_a_request_that_costs_too_much_is_refused_and_the_others_of_its_batch_are_not(segmenter: Segmenter) -> None:
    rows = [_asked(segmenter, 32, labels="cat"), _asked(segmenter, 500, labels="cat,dog"), _asked(segmenter, 32)]
    responses = respond(segmenter, rows, [{}, {}, {}], SERVER)
    assert [response.status for response in responses] == [200, 413, 200]
    error = json.loads(responses[1].body)["error"]
    assert (error["code"], error["type"], error["field"]) == (413, "request_too_costly", None)
    assert "500x500 pixels with 2 labels" in error["message"]


@pytest.mark.parametrize("fields", [{"format": "json"}, {"threshold": "0.5"}], ids=["json", "threshold"])
def test_a_softmax_counts(fields: dict[str, str], segmenter: Segmenter) -> None:
    segmenter.config = CONFIG.replaced(max_request_seconds=200)
    plain, costly = respond(segmenter, [_asked(segmenter, 250), _asked(segmenter, 250, **fields)], [{}, {}], SERVER)
    assert (plain.status, costly.status) == (200, 413)


def test_python_is_told_the_same(segmenter: Segmenter) -> None:
    image = gradient(500, 500)
    with pytest.raises(RequestTooCostlyError, match="500x500 pixels with 2 labels"):
        segmenter.segment(image)
    segmenter.config = CONFIG.replaced(max_request_seconds=0)
    assert segmenter.segment(image).mask.shape == (500, 500)


def test_warm_up_measures_the_rates(small_net: LSeg) -> None:
    segmenter = Segmenter(small_net, config=CONFIG)
    assert segmenter.costs is None
    threads = torch.get_num_threads()
    segmenter.warm_up()
    assert torch.get_num_threads() == threads
    assert segmenter.costs is not None
    rates = segmenter.costs.rates
    assert 0 < rates.score < rates.network
    assert rates.softmax >= 0
    assert segmenter.segment(gradient(480, 640), ["cat", "grass"]).mask.shape == (480, 640)


def test_a_mode_that_no_request_could_use_is_told_at_the_start(
    small_net: LSeg, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Rates(network=1e-4, score=1e-9, softmax=0)
    monkeypatch.setattr("lseg_serve.segmenter.segmenter.measure_rates", lambda network, warm: slow)
    with caplog.at_level("INFO"):
        Segmenter(small_net, config=CONFIG.replaced(max_request_seconds=10)).warm_up()
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["Requests in accurate mode are refused: max_request_seconds is 10"]
    assert "640x480 pixels with 20 labels take an estimated 0.4 s in fast mode" in caplog.text


def test_scores_are_computed_where_they_are_asked_for(small_net: LSeg) -> None:
    segmenter, image = Segmenter(small_net, config=CONFIG), gradient(75, 100)
    job = Job(image, ("cat", "grass"), mode="accurate")
    (whole,) = segmenter.segment_batch([job])
    (mask_alone,) = segmenter.segment_batch([replace(job, with_score_map=False)])
    np.testing.assert_array_equal(mask_alone.mask, whole.mask)
    assert whole.scores.shape == (2, 39, 52)
    with pytest.raises(ValueError, match="were not asked for"):
        _ = mask_alone.scores
