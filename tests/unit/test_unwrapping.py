"""The network is found wherever a file keeps it; where there are several or none, the error says what was seen."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lseg_serve.model import CheckpointError, LSeg, read_checkpoint
from tests.support.networks import SMALL, SMALL_RESNET, langseg_tensors, lightning_checkpoint, random_network


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return langseg_tensors(random_network(SMALL))


@pytest.fixture(scope="module")
def average() -> dict[str, Tensor]:
    """The same keys with other values, as a running average has them."""
    return langseg_tensors(random_network(SMALL, seed=1))


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in tensors.items()}


WRAPPINGS: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "DeepSpeed": lambda t: {
        "module": _below("net.", t),
        "optimizer": {"state": {0: torch.zeros(3)}},
        "dp_world_size": 8,
    },
    "net": lambda t: {"net": t},
    "ema": lambda t: {"ema": {"decay": 0.999, "module": t}},
    "model, then state_dict": lambda t: {"epoch": 3, "model": {"state_dict": t}},
    "dots in a key": lambda t: {"model.state_dict": t},
    "compiled": lambda t: {"state_dict": _below("_orig_mod.net.", t)},
    "compiled inside a module": lambda t: {"model": _below("module._orig_mod.net.", t)},
    "five deep": lambda t: {"run": [{"checkpoint": {"trainer": {"model": _below("module.", t)}}}]},
    "numbers beside the tensors": lambda t: {**_below("net.", t), "epoch": 3, "name": "lseg", "net.epoch": 3},
    "another network first": lambda t: {"teacher": {"conv.weight": torch.ones(3)}, "student": t},
    "a part of an average": lambda t: {"state_dict": t, "ema": dict(list(t.items())[5:])},
    "an average of another shape": lambda t: {"ema": {**t, "scratch.head1.bias": torch.ones(3)}, "model": t},
    "a circle": lambda t: _circle(t),
}


def _circle(tensors: dict[str, Tensor]) -> object:
    content: dict[str, Any] = {"state_dict": tensors}
    content["self"] = [content]
    return content


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
def test_the_network_is_found_below_any_keys(
    wrap: Callable[[dict[str, Tensor]], object], tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(wrap(tensors), tmp_path / "wrapped.pt")
    found = read_checkpoint(tmp_path / "wrapped.pt")
    assert found.tensors.keys() == tensors.keys()
    assert all(torch.equal(found.tensors[key], value) for key, value in tensors.items())
    LSeg.from_tensors(found)


def test_hyper_parameters_are_those_nearest_to_the_tensors(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    content = {"hyper_parameters": {"lr": 1}, "model": {"hyper_parameters": {"lr": 2}, "state_dict": tensors}}
    torch.save(content, tmp_path / "nested.pt")
    assert read_checkpoint(tmp_path / "nested.pt").hyper_parameters == {"lr": 2}


def test_two_whole_networks_are_named_and_one_can_be_chosen(
    tensors: dict[str, Tensor], average: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "both.pt"
    torch.save({"model": {"state_dict": _below("net.", tensors)}, "ema": average}, path)
    count = len(tensors)
    seen = f"'ema' ({count} tensors; whole); 'model.state_dict.net' ({count} tensors; whole); the export's --tensors"
    with pytest.raises(CheckpointError, match=re.escape(f"2 sets of tensors, of which 2 are a whole LSeg: {seen}")):
        read_checkpoint(path)
    for name, expected in (("ema", average), ("model.state_dict.net", tensors)):
        found = read_checkpoint(path, tensors=name).tensors
        assert all(torch.equal(found[key], value) for key, value in expected.items())
    with pytest.raises(CheckpointError, match=r"tensors is 'net'; accepted: 'ema', 'model\.state_dict\.net'"):
        read_checkpoint(path, tensors="net")


def test_two_networks_of_which_none_is_whole_are_listed_with_what_they_lack(
    tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    cut = {key: value for key, value in tensors.items() if key != "scratch.layer1_rn.weight"}
    odd = {**tensors, "scratch.head1.bias": torch.ones(3)}
    torch.save({"model": cut, "ema": odd}, tmp_path / "parts.pt")
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(tmp_path / "parts.pt")
    assert "of which none are a whole LSeg" in str(caught.value)
    assert f"'model' ({len(cut)} tensors; missing scratch.layer1_rn.weight)" in str(caught.value)
    assert f"'ema' ({len(odd)} tensors; wrong shape: scratch.head1.bias [3] for [48])" in str(caught.value)


def test_a_file_without_a_network_is_told_by_what_it_has(tmp_path: Path) -> None:
    content = {
        "backbone": {"conv.weight": torch.ones(1), "conv.bias": torch.ones(1)},
        "head": {"a\x1b[2J": torch.ones(1)},
    }
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(tmp_path / "other.pt")
    assert "its tensors: 2 at backbone, the first 'conv.weight'; 1 at head, the first " in str(caught.value)
    assert str(caught.value).isprintable()


def test_keys_of_any_kind_do_no_harm(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    odd: list[Any] = [10**5000, (1, 2), None, b"x", 1.5, torch.float32]
    content: dict[Any, Any] = {key: {key: {"conv.weight": torch.ones(1)}} for key in odd}
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match=r"no tensor .* among its tensors: 1 at "):
        read_checkpoint(tmp_path / "odd.pt")
    torch.save({**content, "net": tensors}, tmp_path / "odd.pt")
    assert read_checkpoint(tmp_path / "odd.pt").tensors.keys() == tensors.keys()


def test_a_file_of_very_many_networks_is_refused(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    many = {f"{number}.scratch.head1.weight": torch.ones(1) for number in range(5000)}
    torch.save({**tensors, **many}, tmp_path / "many.pt")
    with pytest.raises(CheckpointError, match="more than 20 sets of tensors"):
        read_checkpoint(tmp_path / "many.pt")


EXTRAS: dict[str, tuple[Callable[[dict[str, Tensor], dict[str, Tensor]], object], set[str]]] = {
    "a criterion": (
        lambda t, _: {"state_dict": {**_below("net.", t), "criterion.weight": torch.ones(3)}},
        {"criterion.weight"},
    ),
    "a layer of one's own": (lambda t, _: {**t, "scratch.extra.weight": torch.ones(3)}, {"scratch.extra.weight"}),
    "an average with names of its own": (
        lambda t, a: {"state_dict": {**_below("net.", t), **{f"ema.{key.replace('.', '')}": a[key] for key in a}}},
        set(),
    ),
    "an average in the same dictionary": (
        lambda t, a: {"state_dict": {**_below("net.", t), **_below("net_ema.", a), **_below("ema.net.", a)}},
        set(),
    ),
    "an average beside bare keys": (lambda t, a: {**t, **_below("model_ema.module.", a)}, set()),
    "an average elsewhere": (lambda t, a: {"model": t, "ema": {"module": a}}, {"ema.module"}),
}


@pytest.mark.parametrize(("make", "named"), EXTRAS.values(), ids=EXTRAS)
def test_what_is_no_part_of_the_network_is_dropped_only_where_asked(
    make: Callable[[dict[str, Tensor], dict[str, Tensor]], object],
    named: set[str],
    tensors: dict[str, Tensor],
    average: dict[str, Tensor],
    tmp_path: Path,
) -> None:
    path = tmp_path / "extra.pt"
    torch.save(make(tensors, average), path)
    with pytest.raises(CheckpointError, match=r"not part of LSeg: .*--ignore-extra|of which [23] are a whole LSeg"):
        LSeg.from_checkpoint(path)
    checkpoint = read_checkpoint(path, ignore_extra=True)
    assert named <= set(checkpoint.ignored)
    assert checkpoint.ignored
    assert all(torch.equal(checkpoint.tensors[key], value) for key, value in tensors.items())
    LSeg.from_tensors(checkpoint)


def test_extra_tensors_are_named_and_counted(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    extra = {f"criterion.{number:02d}": torch.ones(1) for number in range(20)}
    torch.save({**_below("net.", tensors), **extra}, tmp_path / "extra.pt")
    message = r"not part of LSeg: criterion\.00, .*, criterion\.07 and 12 more; the export's --ignore-extra drops"
    with pytest.raises(CheckpointError, match=message):
        LSeg.from_checkpoint(tmp_path / "extra.pt")


def test_ignoring_extra_tensors_needs_all_others_all_the_same(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    cut = {key: value for key, value in tensors.items() if key != "scratch.head1.bias"}
    torch.save({**cut, "criterion.weight": torch.ones(3)}, tmp_path / "cut.pt")
    with pytest.raises(CheckpointError, match=r"missing: scratch\.head1\.bias"):
        LSeg.from_tensors(read_checkpoint(tmp_path / "cut.pt", ignore_extra=True))


def test_safetensors_and_resnets_are_unwrapped_as_well(tmp_path: Path) -> None:
    tensors = langseg_tensors(random_network(SMALL_RESNET))
    save_file({**_below("model.net.", tensors), "criterion.weight": torch.ones(3)}, tmp_path / "file.safetensors")
    checkpoint = read_checkpoint(tmp_path / "file.safetensors", ignore_extra=True)
    assert checkpoint.ignored == ("criterion.weight",)
    assert LSeg.from_tensors(checkpoint).architecture == SMALL_RESNET


def test_a_network_with_a_block_that_nothing_explains_is_told_apart_too(tmp_path: Path) -> None:
    """Which of two is whole does not depend on what the file says of its block."""
    net = random_network(replace(SMALL, arch_option=1, block_depth=2))
    tensors = langseg_tensors(net)
    part = {key: value for key, value in tensors.items() if "blocks.2" not in key}
    torch.save({"state_dict": tensors, "ema": part, "hyper_parameters": {}}, tmp_path / "block.pt")
    found = read_checkpoint(tmp_path / "block.pt")
    assert LSeg.from_tensors(found, arch_option=1, block_depth=2, activation="lrelu").architecture == net.architecture


def test_a_lightning_file_is_read_as_before(tmp_path: Path) -> None:
    net = random_network(SMALL)
    torch.save(lightning_checkpoint(net), tmp_path / "lightning.ckpt")
    checkpoint = read_checkpoint(tmp_path / "lightning.ckpt")
    assert (checkpoint.extra, checkpoint.ignored) == ((), ())
    assert checkpoint.hyper_parameters["arch_option"] == 0
