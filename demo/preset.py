"""The small LSeg of the demo: its sizes, the image sizes it is made for, and the values its training starts from."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from lseg_serve.model import LSeg
from lseg_serve.model.architecture import Architecture
from lseg_serve.segmenter import Bucket, Config, make_buckets

# A head has 64 channels in the image encoder and in the text tower, as in every published LSeg.
ARCHITECTURE = Architecture(
    patch_size=8,
    width=128,
    depth=4,
    heads=2,
    position_grid=24,
    level_channels=(48, 96, 128, 128),
    features=64,
    embedding=128,
    text_width=64,
    text_depth=2,
    text_heads=1,
)

_SERVED = Config.from_file(Path(__file__).parent / "model-config.yaml")  # training shows what serving will
IMAGE_SIZES = _SERVED.static_image_size_params
BUCKETS: tuple[Bucket, ...] = make_buckets(IMAGE_SIZES)
WINDOW = _SERVED.accurate.crop_size  # pixels, side of the windows of accurate mode


def new_network(seed: int, architecture: Architecture = ARCHITECTURE) -> LSeg:
    """An untrained network, the same for every `seed`, in training mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = LSeg(architecture)
        net.apply(_initialise)
        for name in ("cls_token", "pos_embed"):
            nn.init.trunc_normal_(net.get_parameter(f"image_encoder.vit.{name}"), std=0.02)
        _initialise_text(net)
    return net.train()


def _initialise(module: nn.Module) -> None:
    """ViT's values for linear layers, He's for convolutions; normalisations keep their ones and zeros."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out" if isinstance(module, nn.Conv2d) else "fan_in")
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def _initialise_text(net: LSeg) -> None:
    """CLIP's values for its text tower (`CLIP.initialize_parameters`), which shrink with width and depth."""
    tower = net.text_encoder
    width, depth = net.architecture.text_width, net.architecture.text_depth
    nn.init.normal_(tower.token_embedding.weight, std=0.02)
    nn.init.normal_(tower.positional_embedding, std=0.01)
    nn.init.normal_(tower.text_projection, std=width**-0.5)
    for block in tower.transformer.resblocks:
        nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
        nn.init.normal_(block.attn.out_proj.weight, std=width**-0.5 * (2 * depth) ** -0.5)
        nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(block.mlp.c_proj.weight, std=width**-0.5 * (2 * depth) ** -0.5)


def smaller(size: int) -> int:
    """A bucket's side at the coarse stage of training: two thirds of `size`, a multiple of 32 px as sides must be."""
    return round(size * 2 / 3 / 32) * 32


def half_resolution(side: int) -> Tensor:
    """Which pixels of a side of `side` px the network's scores lie on: int64 [side / 2].

    Its last resize has aligned corners, so score i of n lies at i * (side - 1) / (n - 1).
    """
    return torch.linspace(0, side - 1, side // 2).round().long()
