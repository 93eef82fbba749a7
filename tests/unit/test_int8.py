"""Layers in 8 bits: each close to its float self, the whole network too, and SmoothQuant alone changes nothing."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lseg_serve.export.exporter import export
from lseg_serve.export.plan import Options
from lseg_serve.export.smoothquant import smooth
from lseg_serve.export.weights import prepare
from lseg_serve.model import LSeg
from lseg_serve.model.image_encoder import ViTEncoder
from lseg_serve.model.int8 import Int8Conv2d, Int8Linear, quantized_weight
from lseg_serve.segmenter import Segmenter
from tests.support.int8 import needs_int8
from tests.support.networks import SMALL, SMALL_RESNET, random_network

PIXELS = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(4)) * 2 - 1
LABELS = ["sky", "a cat", "other"]


@pytest.fixture(autouse=True)
def _weights_are_the_same_each_time() -> None:
    """Layers draw theirs from torch's own generator: one draw in 1200 is beyond a hundredth at its border."""
    torch.manual_seed(6)


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def _random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(6))


@needs_int8
@torch.no_grad()
def test_a_linear_layer_is_within_a_hundredth() -> None:
    layer = nn.Linear(64, 96)
    x = _random(2, 33, 64) + 0.5  # a range that is not even around zero
    assert _relative(Int8Linear(layer)(x), layer(x)) < 0.01


@needs_int8
@torch.no_grad()
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("rectified", [True, False])
def test_a_convolution_is_within_a_hundredth_at_its_border_too(rectified: bool, stride: int) -> None:
    conv = nn.Conv2d(32, 48, kernel_size=3, padding=1, stride=stride)
    x = _random(2, 32, 20, 21) + 0.5
    expected = conv(F.relu(x) if rectified else x)
    found = Int8Conv2d(conv, rectified=rectified)(x)
    assert _relative(found, expected) < 0.01
    assert _relative(found[:, :, 0], expected[:, :, 0]) < 0.01, "padding is zero, not the zero point"


@pytest.mark.parametrize("shape", [(7, 12), (7, 3, 3, 3)])
def test_the_largest_weight_of_each_channel_takes_all_of_the_8_bits(shape: tuple[int, ...]) -> None:
    weight = _random(*shape)
    integers, scale = quantized_weight(weight)
    largest = weight.abs().flatten(1).amax(dim=1)
    assert (integers.abs().flatten(1).amax(dim=1) == 127).all()
    torch.testing.assert_close(scale * 127, largest)
    errors = (integers.flatten(1) * scale[:, None] - weight.flatten(1)).abs()
    assert (errors <= largest[:, None] / 127 / 2 * 1.001).all(), "each is rounded to the nearest step"


@torch.no_grad()
def test_an_input_of_zeros_gives_the_bias() -> None:
    layer = nn.Linear(16, 8)
    torch.testing.assert_close(Int8Linear(layer)(torch.zeros(3, 16)), layer.bias.expand(3, -1))


def test_smoothquant_alone_changes_nothing() -> None:
    net = random_network(SMALL)
    smoothed = copy.deepcopy(net)
    smooth(smoothed, [PIXELS])
    weights = net.image_encoder.get_parameter("vit.blocks.0.mlp.fc1.weight")
    assert not torch.equal(weights, smoothed.image_encoder.get_parameter("vit.blocks.0.mlp.fc1.weight"))
    torch.testing.assert_close(smoothed.logits(PIXELS, LABELS), net.logits(PIXELS, LABELS), rtol=0, atol=1e-4)


@needs_int8
def test_smoothquant_helps_where_one_channel_is_large() -> None:
    net = random_network(SMALL)
    assert isinstance(net.image_encoder, ViTEncoder)
    with torch.no_grad():
        for block in net.image_encoder.vit.blocks:
            for norm, layer in ((block.norm1, block.attn.qkv), (block.norm2, block.mlp.fc1)):
                norm.weight[7] *= 200
                norm.bias[7] *= 200
                layer.weight[:, 7] /= 200
    expected = net.logits(PIXELS, LABELS)
    plain, smoothed = copy.deepcopy(net), copy.deepcopy(net)
    prepare(plain, torch.int8)
    prepare(smoothed, torch.int8, [PIXELS])
    assert _relative(smoothed.logits(PIXELS, LABELS), expected) < _relative(plain.logits(PIXELS, LABELS), expected) / 2


@needs_int8
def test_an_int8_archive_is_small_and_computes_nearly_the_same(small_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    options = Options(
        small_checkpoint, output=tmp_path / "store", labels=str(tmp_path / "labels.txt"), precision="float32"
    )
    exact, small = export(options), export(replace(options, precision="int8", name="small"))
    assert small.bytes < exact.bytes
    net = Segmenter.load(small.archive).net
    assert net.architecture.int8
    assert net.get_buffer("image_encoder.vit.blocks.0.attn.qkv.weight").dtype == torch.int8
    expected = LSeg.from_checkpoint(small_checkpoint).logits(PIXELS, LABELS)
    assert _relative(net.logits(PIXELS, LABELS), expected) < 0.1


@needs_int8
def test_dequantized_layers_differ_by_the_rounding_of_weights_alone() -> None:
    for architecture in (SMALL, SMALL_RESNET):
        net = random_network(architecture)
        quantized = prepare(copy.deepcopy(net), torch.int8, [PIXELS])
        inexact = _relative(quantized.logits(PIXELS, LABELS), net.logits(PIXELS, LABELS))
        restored = quantized.dequantize().set_precision(torch.float32)
        assert not any(isinstance(part, Int8Linear | Int8Conv2d) for part in restored.modules())
        assert _relative(restored.logits(PIXELS, LABELS), net.logits(PIXELS, LABELS)) < inexact


def test_an_int8_archive_runs_on_a_processor_without_vnni(
    small_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    options = Options(small_checkpoint, tmp_path, labels=str(tmp_path / "labels.txt"), precision="int8")
    monkeypatch.setattr("torch.cpu._is_vnni_supported", lambda: True)  # as where it was made
    archive = export(options).archive
    monkeypatch.setattr("torch.cpu._is_vnni_supported", lambda: False)
    with caplog.at_level("INFO"):
        segmenter = Segmenter.load(archive)
    assert "the archive is int8, but this processor lacks VNNI" in caplog.text
    assert segmenter.net.get_parameter("image_encoder.vit.blocks.0.attn.qkv.weight").dtype == torch.float32
    expected = LSeg.from_checkpoint(small_checkpoint).logits(PIXELS, LABELS)
    assert _relative(segmenter.net.logits(PIXELS, LABELS), expected) < 0.1


def test_a_precision_that_the_weights_have_not_is_refused() -> None:
    with pytest.raises(ValueError, match=r"precision is torch\.int8, but the weights are not int8"):
        random_network(SMALL).set_precision(torch.int8)


def test_a_processor_that_gets_it_wrong_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cpu._is_vnni_supported", lambda: False)
    with pytest.raises(ValueError, match="lacks VNNI"):
        prepare(random_network(SMALL), torch.int8, [PIXELS])
