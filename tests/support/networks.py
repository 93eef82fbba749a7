"""Small LSeg networks with random weights, and checkpoint files of them as lang-seg writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lseg_serve.model import Architecture, LSeg
from lseg_serve.model.keys import langseg_key

SMALL = Architecture(
    patch_size=16,
    width=128,
    depth=4,
    heads=2,
    position_grid=6,
    level_channels=(16, 24, 32, 40),
    features=32,
    embedding=48,
    text_width=64,
    text_depth=2,
    text_heads=1,
)
SMALL_RESNET = Architecture(
    backbone="resnet",
    resnet_blocks=(1, 2, 1, 1),
    level_channels=(256, 512, 1024, 2048),
    features=32,
    embedding=48,
    text_width=64,
    text_depth=2,
    text_heads=1,
)


def random_network(architecture: Architecture, seed: int = 0) -> LSeg:
    """A network whose every tensor is random, batch statistics and biases included, so that no term can hide."""
    generator = torch.Generator().manual_seed(seed)
    net = LSeg(architecture).eval().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_var is not None and module.running_mean is not None
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.running_mean.normal_(0, 0.1, generator=generator)
    for name, tensor in net.named_parameters():
        _randomize(name, tensor, generator)
    return net


def fragile_network(architecture: Architecture) -> LSeg:
    """A random network that needs float32: its head takes off a large number that the layer before it adds."""
    net = random_network(architecture)
    offset = 100.0
    with torch.no_grad():
        net.get_parameter("decoder.blocks.0.out_conv.bias").add_(offset)
        net.get_parameter("head.bias").sub_(offset * net.get_parameter("head.weight").sum(dim=(1, 2, 3)))
    return net


def _randomize(name: str, tensor: Tensor, generator: torch.Generator) -> None:
    if tensor.ndim == 1:
        tensor.normal_(1 if name.endswith("weight") else 0, 0.1, generator=generator)
    elif "embedding" in name or "pos_embed" in name or "cls_token" in name:
        tensor.normal_(0, 0.3, generator=generator)
    else:
        tensor.normal_(0, tensor[0].numel() ** -0.5, generator=generator)


def langseg_tensors(net: LSeg) -> dict[str, Tensor]:
    """The tensors of `net` under lang-seg's keys, with those that only training needs beside them."""
    tensors = {langseg_key(name): tensor.clone() for name, tensor in net.state_dict().items()}
    tensors["clip_pretrained.logit_scale"] = torch.tensor(4.6)
    tensors["clip_pretrained.visual.proj"] = torch.zeros(8, 8)
    if net.architecture.backbone == "vit":
        tensors["pretrained.model.norm.weight"] = torch.ones(net.architecture.width)
        tensors["pretrained.model.head.weight"] = torch.zeros(10, net.architecture.width)
    features = net.architecture.features
    for conv in ("conv1", "conv2"):
        tensors[f"scratch.refinenet4.resConfUnit1.{conv}.weight"] = torch.zeros(features, features, 3, 3)
    return tensors


def lightning_checkpoint(net: LSeg, **changes: Any) -> dict[str, Any]:
    """A checkpoint as Lightning 1.4.9 writes it."""
    architecture = net.architecture
    return {
        "epoch": 1,
        "global_step": 2,
        "pytorch-lightning_version": "1.4.9",
        "state_dict": {f"net.{key}": tensor for key, tensor in langseg_tensors(net).items()},
        "callbacks": {},
        "optimizer_states": [{"state": {0: {"momentum_buffer": torch.zeros(4)}}, "param_groups": [{"lr": 1e-4}]}],
        "lr_schedulers": [{"base_lrs": [0.004], "last_epoch": 1}],
        "hyper_parameters": {
            "arch_option": architecture.arch_option,
            "block_depth": architecture.block_depth,
            "activation": architecture.activation,
        },
        **changes,
    }


def save_checkpoint(net: LSeg, path: Path) -> Path:
    """Write `net` as a Lightning checkpoint."""
    torch.save(lightning_checkpoint(net), path)
    return path
