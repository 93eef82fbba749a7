"""`habana_frameworks.torch.core`, simulated: importing it makes `hpu` a device of torch."""

import torch

from habana_frameworks.torch import hpu
from habana_frameworks.torch.core.quantization import *  # noqa: F403 - the names depend on the software
from habana_frameworks.torch.core.step_closure import add_step_closure, iter_mark_step, mark_step
from habana_frameworks.torch.simulated import autocast, backend

__all__ = ["add_step_closure", "iter_mark_step", "mark_step"]

if not hasattr(torch, "hpu"):
    backend.register(hpu)
    autocast.register()
