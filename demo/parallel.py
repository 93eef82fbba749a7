"""Training in several processes, each with its share of every batch.

Two processes of one thread each make more of two cores than one process of two threads: they meet once a step and not
at every operation, which on a machine with other work to do was twice as fast.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn


def launch(work: Callable[..., None], processes: int, folder: Path, *arguments: Any) -> None:
    """Call `work(rank, *arguments)` in `processes` processes that know each other, or here if it is one."""
    if processes == 1:
        work(0, *arguments)
        return
    meeting = (folder / "meeting").resolve()
    meeting.unlink(missing_ok=True)
    spawn(_join, args=(processes, meeting, work, arguments), nprocs=processes)


def _join(rank: int, processes: int, meeting: Path, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all are on this machine, whatever name it goes by
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=processes)
    try:
        work(rank, *arguments)
    finally:
        distributed.destroy_process_group()


def process_count() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def own_rank() -> int:
    """The number of this process among them; 0 saves and reports."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def average_gradients(net: nn.Module) -> None:
    """Give every process the mean of all gradients."""
    _average([parameter.grad for parameter in net.parameters() if parameter.grad is not None])


def average_statistics(net: nn.Module) -> None:
    """Give every process the mean of all batch norms' running statistics, which training itself does not read."""
    _average([buffer for buffer in net.buffers() if buffer.is_floating_point()])


def _average(tensors: list[Tensor]) -> None:
    """In place, in one message: a message for each tensor would cost more than the step's mathematics."""
    if process_count() == 1:
        return
    together = torch.cat([tensor.flatten() for tensor in tensors])
    distributed.all_reduce(together)
    together /= process_count()
    for tensor, mean in zip(tensors, together.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))
