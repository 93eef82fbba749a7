"""Linear layers by oneDNN: the same results from the same tensors, where and only where they are to be faster."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lseg_serve.bench.flops import counted
from lseg_serve.model import LSeg
from lseg_serve.model.products import OneDnnLinear, multiply_by_onednn, onednn_unavailable_reason
from lseg_serve.segmenter.devices.cpu import CpuDevice, prefers_mkl
from tests.support.networks import SMALL, SMALL_RESNET, random_network

pytestmark = pytest.mark.skipif(
    onednn_unavailable_reason(torch.float32) is not None, reason="this torch, or this processor, has no such product"
)
half = pytest.mark.skipif(
    onednn_unavailable_reason(torch.bfloat16) is not None, reason="oneDNN has no bfloat16 on this processor"
)


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), pytest.param(torch.bfloat16, 8e-3, marks=half)]
)
def test_a_layer_computes_what_its_tensors_say(dtype: torch.dtype, tolerance: float, bias: bool, gelu: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(96, 40, bias=bias).requires_grad_(False).to(dtype)
    for x in (torch.randn(2, 5, 96), torch.randn(7, 2, 96).transpose(0, 1), torch.randn(1, 96)):
        x = x.to(dtype)
        expected = F.linear(x.double(), layer.weight.double(), layer.bias.double() if bias else None)
        expected = F.gelu(expected) if gelu else expected
        found = OneDnnLinear(layer, gelu=gelu)(x)
        assert (found.dtype, found.shape) == (dtype, expected.shape)
        assert (found.double() - expected).abs().max() <= tolerance * expected.abs().max()


def test_where_onednn_does_not_multiply_torch_does() -> None:
    torch.manual_seed(0)
    plain = nn.Linear(96, 40)
    layer, x = OneDnnLinear(plain, gelu=True), torch.randn(5, 96)
    torch.testing.assert_close(layer(x), F.gelu(plain(x)))
    (found,) = torch.autograd.grad(layer(x).sum(), [plain.weight])
    (expected,) = torch.autograd.grad(F.gelu(plain(x)).sum(), [plain.weight])
    torch.testing.assert_close(found, expected)
    double = OneDnnLinear(nn.Linear(96, 40).double().requires_grad_(False))
    assert double(x.double()).dtype == torch.float64
    assert layer.to("meta")(x.to("meta")).shape == (5, 40)


@torch.no_grad()
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), pytest.param(torch.bfloat16, 0.05, marks=half)]
)
def test_a_network_computes_the_same_from_the_same_tensors(dtype: torch.dtype, tolerance: float) -> None:
    net = random_network(SMALL).set_precision(dtype)
    tensors = {name: tensor.data_ptr() for name, tensor in net.state_dict().items()}
    pixels, labels = torch.rand(1, 3, 96, 128) * 2 - 1, ["sky", "a dog in the snow"]
    expected, text = net.image_features(pixels), net.encode_labels(labels)
    assert net.multiply_by_onednn() == 4 * SMALL.depth
    assert {name: tensor.data_ptr() for name, tensor in net.state_dict().items()} == tensors
    found = net.image_features(pixels)
    assert (found - expected).norm() <= tolerance * expected.norm()
    assert torch.equal(net.encode_labels(labels), text)
    assert net.multiply_by_onednn() == 0  # they are already


def test_int8_layers_stay_as_they_are() -> None:
    net = LSeg(replace(SMALL, batch_norm=False, int8=True))
    assert net.precision == torch.int8
    assert net.multiply_by_onednn() == 0


def test_a_resnet_has_no_such_layers() -> None:
    assert random_network(SMALL_RESNET).multiply_by_onednn() == 0


@torch.no_grad()
def test_another_activation_is_not_taken_for_the_exact_gelu() -> None:
    net = random_network(SMALL)
    for module in net.modules():
        if isinstance(module, nn.GELU):
            module.approximate = "tanh"
    pixels = torch.rand(1, 3, 96, 96) * 2 - 1
    expected = net.image_features(pixels)
    net.multiply_by_onednn()
    found = net.image_features(pixels)
    assert (found - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int8])
def test_other_types_are_not_multiplied_by_onednn(dtype: torch.dtype) -> None:
    assert onednn_unavailable_reason(dtype) == f"it is not used for {dtype}"


@pytest.mark.parametrize(
    ("cpuinfo", "reason"),
    [
        ("processor\t: 0\nvendor_id\t: GenuineIntel\n", "MKL is not known to be slow on this processor"),
        ("processor\t: 0\nmodel name\t: AuthenticAMD by its model alone\n", "MKL is not known to be slow"),
        ("processor\t: 0\nvendor_id\t: AuthenticAMD\n", None),
    ],
)
def test_the_kind_of_processor_decides(cpuinfo: str, reason: str | None, tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(cpuinfo, encoding="utf-8")
    if reason is None and torch.backends.cpu.get_cpu_capability() != "AVX512":
        reason = "without AVX-512 it was not measured"
    found = prefers_mkl(file)
    assert found is None if reason is None else found is not None and reason in found


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_cpu_tunes_a_network_without_changing_what_it_computes(
    dtype: torch.dtype, caplog: pytest.LogCaptureFixture
) -> None:
    net = random_network(SMALL).set_precision(dtype)
    pixels = torch.rand(1, 3, 96, 128) * 2 - 1
    expected = net.image_features(pixels)
    with caplog.at_level("INFO"):
        CpuDevice().tune(net)
    assert "Linear layers" in caplog.text
    found = net.image_features(pixels)
    assert (found - expected).norm() <= (1e-5 if dtype == torch.float32 else 0.05) * expected.norm()
    own = sum(isinstance(module, OneDnnLinear) for module in net.modules())
    assert own == (0 if prefers_mkl() else 4 * SMALL.depth)


@torch.no_grad()
def test_the_benchs_counter_knows_the_layers() -> None:
    net = random_network(SMALL)
    routed = copy.deepcopy(net)
    multiply_by_onednn(routed)
    pixels = torch.rand(1, 3, 96, 96)
    expected = counted(lambda: net.image_features(pixels)).float_gflop
    assert counted(lambda: routed.image_features(pixels)).float_gflop == pytest.approx(expected)
