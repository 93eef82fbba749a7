"""The LSeg network in PyTorch: image encoder, reassemble, fusion, head and text encoder, and its checkpoints."""

from lseg_serve.model import torchvision_ops  # noqa: F401 - must come before timm and clip
from lseg_serve.model.architecture import PRESETS, Architecture
from lseg_serve.model.attention import Attend, attend_by_products
from lseg_serve.model.checkpoint import Checkpoint
from lseg_serve.model.errors import CheckpointError, LabelTooLongError
from lseg_serve.model.lseg import LSeg
from lseg_serve.model.reading import read_checkpoint

__all__ = [
    "PRESETS",
    "Architecture",
    "Attend",
    "Checkpoint",
    "CheckpointError",
    "LSeg",
    "LabelTooLongError",
    "attend_by_products",
    "read_checkpoint",
]
