"""Checkpoint files: what is read, what is refused, and that no file can make anything run."""

from __future__ import annotations

import subprocess
import sys
import types
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lseg_serve.model import CheckpointError, LSeg
from tests.support.memory import PEAK
from tests.support.networks import (
    SMALL,
    SMALL_RESNET,
    langseg_tensors,
    lightning_checkpoint,
    random_network,
    save_checkpoint,
)

PIXELS = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(3)) * 2 - 1
LABELS = ["a", "dog"]


def _same(found: LSeg, expected: LSeg, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(found.logits(PIXELS, LABELS), expected.logits(PIXELS, LABELS), rtol=0, atol=tolerance)


def _half(tensors: dict[str, Tensor], only: str = "") -> dict[str, Tensor]:
    return {key: t.half() if key.startswith(only) and t.is_floating_point() else t for key, t in tensors.items()}


def _write_lightning(net: LSeg, path: Path) -> None:
    torch.save(lightning_checkpoint(net), path)


def _write_without_hyper_parameters(net: LSeg, path: Path) -> None:
    content = lightning_checkpoint(net)
    del content["hyper_parameters"]
    torch.save(content, path)


def _write_bare(net: LSeg, path: Path) -> None:
    torch.save(OrderedDict(langseg_tensors(net)), path)


def _write_nested(net: LSeg, path: Path) -> None:
    torch.save({"state_dict": langseg_tensors(net)}, path)


def _write_parallel(net: LSeg, path: Path) -> None:
    torch.save({f"module.net.{key}": tensor for key, tensor in langseg_tensors(net).items()}, path)


def _write_under_another_name(net: LSeg, path: Path) -> None:
    tensors = {f"model.module.net.{key}": tensor for key, tensor in langseg_tensors(net).items()}
    torch.save({"model_state_dict": tensors}, path)


def _write_safetensors_of_others(net: LSeg, path: Path) -> None:
    save_file(langseg_tensors(net), path, metadata={"format": "pt", "architecture": "ViT-L"})


def _write_safetensors(net: LSeg, path: Path) -> None:
    save_file(langseg_tensors(net), path)


def _write_old_format(net: LSeg, path: Path) -> None:
    torch.save(lightning_checkpoint(net), path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize(
    "write",
    [
        _write_lightning,
        _write_without_hyper_parameters,
        _write_bare,
        _write_nested,
        _write_parallel,
        _write_under_another_name,
        _write_safetensors_of_others,
        _write_safetensors,
        _write_old_format,
    ],
)
def test_every_kind_of_file_gives_the_network(write: Callable[[LSeg, Path], None], tmp_path: Path) -> None:
    net = random_network(SMALL)
    write(net, tmp_path / "file")
    loaded = LSeg.from_checkpoint(tmp_path / "file")
    assert loaded.architecture == net.architecture
    assert not loaded.training
    _same(loaded, net)


def test_a_resnet_is_read_too(tmp_path: Path) -> None:
    net = random_network(SMALL_RESNET)
    loaded = LSeg.from_checkpoint(save_checkpoint(net, tmp_path / "resnet.ckpt"))
    assert loaded.architecture == net.architecture
    _same(loaded, net)


@pytest.mark.parametrize("only", ["clip_pretrained.", ""], ids=["CLIP in float16", "all in float16"])
def test_half_precision_is_computed_in_float32(only: str, tmp_path: Path) -> None:
    net = random_network(SMALL)
    torch.save(_half(langseg_tensors(net), only), tmp_path / "half.ckpt")
    loaded = LSeg.from_checkpoint(tmp_path / "half.ckpt")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    _same(loaded, net, tolerance=0.2)


def test_hyper_parameters_say_what_tensors_cannot(tmp_path: Path) -> None:
    net = random_network(replace(SMALL, arch_option=1, block_depth=3, activation="tanh"))
    path = save_checkpoint(net, tmp_path / "block.ckpt")
    _same(LSeg.from_checkpoint(path), net)
    other = LSeg.from_checkpoint(path, arch_option=2, block_depth=1, activation="relu")
    assert (other.architecture.arch_option, other.architecture.block_depth) == (2, 1)


def test_a_block_that_nothing_explains_is_refused(tmp_path: Path) -> None:
    net = random_network(replace(SMALL, arch_option=2, block_depth=2))
    torch.save(langseg_tensors(net), tmp_path / "block.ckpt")
    with pytest.raises(CheckpointError, match=r"head_block.*state arch_option \(1 or 2\), block_depth and activation"):
        LSeg.from_checkpoint(tmp_path / "block.ckpt")
    _same(LSeg.from_checkpoint(tmp_path / "block.ckpt", arch_option=2, block_depth=2, activation="lrelu"), net)


@pytest.mark.parametrize("depth", [2.5, -1, 10**9, "2"])
def test_a_depth_that_cannot_be_is_refused(depth: object, tmp_path: Path) -> None:
    net = random_network(replace(SMALL, arch_option=2, block_depth=2))
    content = lightning_checkpoint(net)
    content["hyper_parameters"]["block_depth"] = depth
    torch.save(content, tmp_path / "block.ckpt")
    with pytest.raises(CheckpointError, match=f"block_depth is {depth!r}; accepted: a whole number from 0 to 100"):
        LSeg.from_checkpoint(tmp_path / "block.ckpt")


def test_an_option_that_contradicts_the_tensors_is_refused(small_checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=r"arch_option is 1, but the file has no scratch\.head_block"):
        LSeg.from_checkpoint(small_checkpoint, arch_option=1)


def _without(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    del tensors["scratch.layer3_rn.weight"]
    return tensors


def _with_block_missing(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    del tensors["pretrained.model.blocks.2.attn.qkv.bias"]
    return tensors


def _with_extra(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**tensors, "scratch.layer5_rn.weight": torch.zeros(1)}


def _with_wrong_shape(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**tensors, "scratch.refinenet2.out_conv.bias": torch.zeros(31)}


def _with_a_scalar(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**tensors, "scratch.head1.weight": torch.tensor(1.0)}


def _with_a_sparse_one(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**tensors, "scratch.head1.bias": torch.zeros(48).to_sparse()}


def _with_integers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**tensors, "scratch.head1.bias": torch.zeros(48, dtype=torch.int64)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without, r"missing scratch\.layer3_rn\.weight"),
        (_with_block_missing, r"missing: pretrained\.model\.blocks\.2\.attn\.qkv\.bias"),
        (_with_extra, r"not part of LSeg: scratch\.layer5_rn\.weight"),
        (_with_wrong_shape, r"wrong shape: scratch\.refinenet2\.out_conv\.bias \[31\] for \[32\]"),
        (_with_integers, r"not plain floating-point: scratch\.head1\.bias torch\.int64"),
        (_with_a_scalar, r"wrong shape: scratch\.head1\.weight \[\]"),
        (_with_a_sparse_one, r"not a tensor: scratch\.head1\.bias is <torch\._utils\._rebuild_sparse_tensor>"),
    ],
)
def test_a_file_that_does_not_fit_exactly_is_refused_by_key(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str, tmp_path: Path, small_net: LSeg
) -> None:
    torch.save(change(langseg_tensors(small_net)), tmp_path / "odd.ckpt")
    with pytest.raises(CheckpointError, match=message):
        LSeg.from_checkpoint(tmp_path / "odd.ckpt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x08\x00\x00\x00\x00\x00\x00\x00{", "not a readable checkpoint"),
        (b"PK\x03\x04 cut short", "not a checkpoint but a part of a zip archive"),
    ],
)
def test_a_file_of_another_kind_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        LSeg.from_checkpoint(tmp_path / "file")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"weights": torch.zeros(3)},
            r"no tensor 'scratch\.head1\.weight' among .*: 1 at the top, the first 'w",
        ),
        ({"state_dict": "text"}, "there is no tensor in it; its keys: state_dict"),
        ({"state_dict": {"a": 1}}, "there is no tensor in it; its keys: state_dict"),
        ({}, "there is no tensor in it; its keys: none"),
        ([torch.zeros(3)], "no tensor .* among its tensors: 1 at the top, the first '0'"),
        (torch.zeros(3), "it holds a Tensor"),
        ("text", "it holds a str"),
        ({"state_dict": {1: torch.zeros(3)}}, "no tensor .* among its tensors: 1 at state_dict, the first '1'"),
        ({"scratch.head1.weight": torch.tensor(1.0)}, "missing pretrained"),
    ],
)
def test_other_content_is_refused(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "file")
    with pytest.raises(CheckpointError, match=message):
        LSeg.from_checkpoint(tmp_path / "file")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent\.ckpt: no such file"):
        LSeg.from_checkpoint(tmp_path / "absent.ckpt")


def test_a_truncated_checkpoint_is_refused(small_checkpoint: Path, tmp_path: Path) -> None:
    content = small_checkpoint.read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"a part of a zip archive: .* download the file itself again"):
        LSeg.from_checkpoint(tmp_path / "cut.ckpt")


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A package of Lightning's name while a file is written; gone when it is read."""
    module = types.ModuleType("pytorch_lightning.callbacks")
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        monkeypatch.setitem(sys.modules, name, module)
    return module


def test_callback_classes_of_old_lightning_are_passed_over(
    lightning: types.ModuleType, small_net: LSeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to 1.5 the keys of `callbacks` are classes, and hyper-parameters may be Lightning's own dictionary."""
    callback = type("ModelCheckpoint", (), {"__module__": "pytorch_lightning.callbacks"})
    container = type("AttributeDict", (dict,), {"__module__": "pytorch_lightning.callbacks"})
    lightning.ModelCheckpoint, lightning.AttributeDict = callback, container  # type: ignore[attr-defined]
    hyper_parameters = container(arch_option=0, block_depth=0, activation="relu")
    content = lightning_checkpoint(
        small_net,
        callbacks={callback: {"best_model_score": torch.tensor(0.5), "best_model_path": "x", "monitor": callback()}},
        hyper_parameters=hyper_parameters,
    )
    torch.save(content, tmp_path / "old.ckpt")
    monkeypatch.undo()
    assert "pytorch_lightning" not in sys.modules
    _same(LSeg.from_checkpoint(tmp_path / "old.ckpt"), small_net)


_MEASURE = f"""
import sys
from lseg_serve.model import LSeg
{PEAK}
before = peak()
net = LSeg.from_checkpoint(sys.argv[1])
total = sum(float(parameter.sum()) for parameter in net.parameters())  # touches every page
print(peak() - before)
"""


@pytest.mark.parametrize("options", [(), ("--half-clip",)], ids=["float32", "CLIP in float16"])
def test_loading_takes_less_than_1_3_times_the_file(
    options: tuple[str, ...], full_size_checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = full_size_checkpoint("clip_vitb32_384", *options)
    run = subprocess.run([sys.executable, "-c", _MEASURE, path], capture_output=True, text=True, check=True)
    ratio = int(run.stdout) / path.stat().st_size
    with capsys.disabled():
        print(f"\n{path.name}: peak memory {ratio:.2f} times the file")
    assert ratio < 1.3
