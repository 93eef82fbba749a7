"""The LSeg network in PyTorch: image encoder, reassemble, fusion, head and text encoder, and its checkpoints."""

from model import torchvision_ops  # noqa: F401 - must come before timm and clip
from model.architecture import PRESETS, Architecture
from model.checkpoint import Checkpoint, read_checkpoint
from model.errors import CheckpointError
from model.lseg import LSeg

__all__ = ["PRESETS", "Architecture", "Checkpoint", "CheckpointError", "LSeg", "read_checkpoint"]
