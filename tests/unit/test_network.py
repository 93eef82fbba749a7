"""The network equals lang-seg: by an independent reference in every variant, by golden files at full size."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from lseg_serve.model import PRESETS, Architecture, LSeg
from lseg_serve.model.architecture import Activation
from lseg_serve.model.keys import is_unused, langseg_key
from lseg_serve.model.text_encoder import tokenize
from tests.support import reference
from tests.support.networks import SMALL, SMALL_RESNET, langseg_tensors, random_network

LABELS = ["sky", "a cat", "Traffic Light", "日本", "other"]
PATCH32 = replace(SMALL, patch_size=32, position_grid=3)


def _pixels(height: int, width: int, batch: int = 1) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(7)) * 2 - 1


@pytest.mark.parametrize("architecture", [SMALL, PATCH32], ids=["patch16", "patch32"])
@pytest.mark.parametrize("size", [(96, 96), (64, 160)], ids=["learned grid", "not square"])
def test_vit_equals_the_reference(architecture: Architecture, size: tuple[int, int]) -> None:
    net = random_network(architecture)
    pixels = _pixels(*size, batch=2)
    expected = reference.logits(langseg_tensors(net), pixels, LABELS, patch_size=architecture.patch_size)
    found = net.logits(pixels, LABELS)
    assert found.shape == (2, len(LABELS), *size)
    assert found.dtype == torch.float32
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)


@torch.no_grad()
def test_positions_that_are_prepared_give_the_same_numbers_and_are_not_resized_again() -> None:
    net = random_network(SMALL)
    pixels, other = _pixels(64, 160), _pixels(160, 64)
    expected, keys = net.logits(pixels, LABELS), set(net.state_dict())
    net.prepare_sizes([(64, 160), (96, 96)])
    assert set(net.state_dict()) == keys
    assert [name for name, _ in net.named_buffers() if "positions" in name] == ["image_encoder.positions_4x10"]
    assert torch.equal(net.logits(pixels, LABELS), expected)
    before = net.logits(other, LABELS)
    net.get_parameter("image_encoder.vit.pos_embed").zero_()
    assert torch.equal(net.logits(pixels, LABELS), expected)
    assert not torch.equal(net.logits(other, LABELS), before)


@pytest.mark.parametrize("activation", ["lrelu", "relu", "tanh"])
@pytest.mark.parametrize("block_depth", [0, 1, 3])
@pytest.mark.parametrize("arch_option", [1, 2])
def test_regularisation_block_equals_the_reference(arch_option: int, block_depth: int, activation: Activation) -> None:
    architecture = replace(SMALL, arch_option=arch_option, block_depth=block_depth, activation=activation)
    net = random_network(architecture)
    pixels = _pixels(64, 96)
    told = {"arch_option": arch_option, "block_depth": block_depth, "activation": activation}
    expected = reference.logits(langseg_tensors(net), pixels, LABELS, patch_size=16, **told)  # type: ignore[arg-type]
    torch.testing.assert_close(net.logits(pixels, LABELS), expected, rtol=0, atol=2e-4)


def test_resnet_equals_torchvisions_with_the_reference_decoder() -> None:
    net = random_network(SMALL_RESNET)
    tensors = langseg_tensors(net)
    blocks = list(SMALL_RESNET.resnet_blocks)
    theirs = torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, blocks).eval().requires_grad_(False)
    theirs.load_state_dict(_torchvision_names(tensors), strict=False)
    pixels = _pixels(96, 160)
    level = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(pixels))))
    levels = []
    for stage in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
        level = stage(level)
        levels.append(level)
    expected = reference.logits_from_levels(tensors, levels, LABELS)
    torch.testing.assert_close(net.logits(pixels, LABELS), expected, rtol=0, atol=2e-4)


def _torchvision_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The ResNet in lang-seg's tensors under torchvision's names, stem included."""
    names = {"layer1.0.": "conv1.", "layer1.1.": "bn1.", "layer1.4.": "layer1."}
    renamed = {}
    for key, tensor in tensors.items():
        name = key.removeprefix("pretrained.")
        if name == key:
            continue
        old = next((old for old in names if name.startswith(old)), "")
        renamed[names.get(old, "") + name.removeprefix(old)] = tensor
    return renamed


def test_a_grid_of_odd_size_works_too() -> None:
    """lang-seg fails where a level is halved rounding up; here the coarser map is resized to the finer one."""
    assert random_network(SMALL).logits(_pixels(48, 80), ["a", "b"]).shape == (1, 2, 48, 80)


def test_sides_that_are_no_multiple_of_the_patch_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 3, 48, 50\).*multiples of 16"):
        random_network(SMALL).logits(_pixels(48, 50), ["a"])


def test_an_embedding_does_not_depend_on_the_labels_beside_it() -> None:
    net = random_network(SMALL)
    alone = net.encode_labels(["cat"])
    beside = net.encode_labels(["a very long label with many more words than one", "cat"])[1:]
    torch.testing.assert_close(alone, beside, rtol=0, atol=1e-5)


def test_a_label_beyond_the_context_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'word word.*75 CLIP tokens"):
        tokenize(["cat", "word " * 80])


def test_one_text_is_not_a_list_of_its_letters() -> None:
    with pytest.raises(ValueError, match="labels is the text 'cat'; accepted: a list of texts"):
        random_network(SMALL).logits(_pixels(32, 32), "cat")


@pytest.mark.parametrize(
    ("name", "text_width", "embedding"),
    [
        ("clip_vitl16_384", 512, 512),
        ("clip_vitb32_384", 512, 512),
        ("clipRN50x16_vitl16_384", 768, 768),
        ("clipRN50x4_vitl16_384", 640, 640),
        ("clipRN50x16_vitb32_384", 768, 768),
        ("clipRN50x4_vitb32_384", 640, 640),
        ("clip_resnet101", 512, 512),
    ],
)
def test_presets_have_the_published_shapes(name: str, text_width: int, embedding: int) -> None:
    with torch.device("meta"):
        net = LSeg(PRESETS[name])
    shapes = {langseg_key(key): tuple(value.shape) for key, value in net.state_dict().items()}
    assert shapes["clip_pretrained.text_projection"] == (text_width, embedding)
    assert shapes["scratch.head1.weight"] == (embedding, 256, 1, 1)
    if name == "clip_resnet101":
        theirs = {key: tuple(value.shape) for key, value in _resnet101().state_dict().items() if "fc." not in key}
        ours = {key: torch.empty(shape) for key, shape in shapes.items()}
        assert {key: tuple(value.shape) for key, value in _torchvision_names(ours).items()} == theirs


def _resnet101() -> nn.Module:
    with torch.device("meta"):
        resnet: nn.Module = torchvision.models.resnet101()
    return resnet


@pytest.mark.parametrize("name", ["clip_vitb32_384", "clip_vitl16_384"])
def test_presets_have_exactly_the_tensors_of_the_golden_checkpoints(golden: Path, name: str) -> None:
    with torch.device("meta"):
        net = LSeg(PRESETS[name])
    listed = json.loads(str(np.load(golden / f"{name}.npz")["keys"]))
    published = {key: shape for key, (shape, _) in listed.items() if not is_unused(key)}
    built = {langseg_key(key): list(value.shape) for key, value in net.state_dict().items()}
    assert {key: shape for key, shape in built.items() if not is_unused(key)} == published
