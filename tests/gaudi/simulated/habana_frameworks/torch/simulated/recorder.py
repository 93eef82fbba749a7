"""Operators waiting to run: in lazy mode they pile up until something cuts the graph, and its key is looked up.

What is pending belongs to the process, not to a thread. Results exist at once, because CPU torch computes them while
they are recorded; what is faithful is which graph they would have been part of.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from habana_frameworks.torch.simulated.counts import CompiledGraph
from habana_frameworks.torch.simulated.device import MOST_OPERATORS
from habana_frameworks.torch.simulated.memory import Cell
from habana_frameworks.torch.simulated.recipes import RECIPES
from habana_frameworks.torch.utils.internal import is_lazy

if TYPE_CHECKING:
    from habana_frameworks.torch.simulated.tensor import HpuTensor

Reference = tuple[int, int]  # operator and its output; or -1 and the graph's input; or an operator that wrote, and -1


class Value:
    """What a tensor holds: output `index` of operator `node` in `step`, or anything else once that step is over."""

    __slots__ = ("__weakref__", "index", "node", "step")

    def __init__(self, step: int = -1, node: int = -1, index: int = 0) -> None:
        self.step = step
        self.node = node
        self.index = index


@dataclass(slots=True)
class _Node:
    name: str
    attributes: Hashable
    references: list[Reference]
    outputs: list[weakref.ref[Value]]
    written: list[weakref.ref[Cell]]


class Recorder:
    """The pending graph of this process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.step = 0
        self._nodes: list[_Node] = []
        # The graph's inputs, kept alive so that no other can take an identity: number and description of each.
        self._inputs: dict[Value, tuple[int, Hashable]] = {}
        self._silent = threading.local()

    @property
    def silent(self) -> bool:
        """Whether this thread's operators belong to a compiled function, which counts as a whole."""
        return getattr(self._silent, "on", False)

    @silent.setter
    def silent(self, on: bool) -> None:
        self._silent.on = on

    def record(
        self,
        name: str,
        attributes: Hashable,
        inputs: Sequence[HpuTensor],
        outputs: Sequence[HpuTensor],
        written: Sequence[HpuTensor],
    ) -> None:
        """Add an operator: `outputs` are new tensors, `written` those it changed in place."""
        if self.silent:
            return
        with self.lock:
            references = [reference for one in inputs for reference in self._references(one)]
            number = len(self._nodes)
            node = _Node(name, attributes, references, [], [])
            for index, tensor in enumerate((*outputs, *written)):
                tensor.value = Value(self.step, number, index)
                node.outputs.append(weakref.ref(tensor.value))
            for tensor in written:
                tensor.cell.step, tensor.cell.writer = self.step, number
                node.written.append(weakref.ref(tensor.cell))
            self._nodes.append(node)
            if not is_lazy() or len(self._nodes) >= MOST_OPERATORS:
                self.cut(name if not is_lazy() else "PT_HPU_MAX_COMPOUND_OP_SIZE")

    def pending(self, tensor: HpuTensor) -> bool:
        """Whether what the tensor holds is still to be computed."""
        return self.step in (tensor.value.step, tensor.cell.step)

    def cut(self, reason: str) -> None:
        """Run what is pending as one graph; nothing pending, or nothing of it still wanted, runs nothing."""
        with self.lock:
            nodes, inputs = self._nodes, list(self._inputs.values())
            live = _live_outputs(nodes)
            self._nodes, self._inputs = [], {}
            self.step += 1
            if live:
                key, graph = _describe(nodes, inputs, live, reason)
                RECIPES.prepare(key, graph)

    def _references(self, tensor: HpuTensor) -> list[Reference]:
        value, cell = tensor.value, tensor.cell
        if value.step == self.step:
            found = [(value.node, value.index)]
        else:
            known = self._inputs.get(value)
            if known is None:
                known = self._inputs[value] = (len(self._inputs), tensor_description(tensor))
            found = [(-1, known[0])]
        if cell.step == self.step and cell.writer != found[0][0]:
            found.append((cell.writer, -1))  # a view of what was written in place since
        return found


def tensor_description(tensor: HpuTensor) -> Hashable:
    """What of an input is part of a graph's key: shape, dtype, memory format, and which constant it is if it is one."""
    host = tensor.host
    if host.is_contiguous():
        layout = "contiguous"
    elif host.ndim == 4 and host.is_contiguous(memory_format=torch.channels_last):
        layout = "channels_last"
    else:
        layout = "strided"
    return (tuple(host.shape), str(host.dtype).removeprefix("torch."), layout, tensor.constant_id)


def _live_outputs(nodes: list[_Node]) -> list[Reference]:
    """Outputs that somebody can still read: of tensors alive, and of writes to memory alive."""
    live = []
    for number, node in enumerate(nodes):
        live += [(number, index) for index, value in enumerate(node.outputs) if value() is not None]
        if any(cell() is not None for cell in node.written):
            live.append((number, -1))
    return live


def _describe(
    nodes: list[_Node], inputs: list[tuple[int, Hashable]], live: list[Reference], reason: str
) -> tuple[Hashable, CompiledGraph]:
    """The key of the part of the graph that the live outputs need, and the same for people."""
    needed = {number for number, _ in live}
    for number in range(len(nodes) - 1, -1, -1):
        if number in needed:
            needed.update(source for source, _ in nodes[number].references if source >= 0)
    new_number = {old: new for new, old in enumerate(sorted(needed))}
    used: dict[int, int] = {}
    parts = []
    for number in new_number:
        node = nodes[number]
        references = tuple(
            (-1, used.setdefault(index, len(used))) if source < 0 else (new_number[source], index)
            for source, index in node.references
        )
        parts.append((node.name, node.attributes, references))
    descriptions = tuple(inputs[index][1] for index in used)
    outputs = tuple((new_number[number], index) for number, index in live)
    graph = CompiledGraph("", tuple(part[0] for part in parts), tuple(map(readable, descriptions)), len(live), reason)
    return (tuple(parts), descriptions, outputs), graph


def readable(description: Hashable) -> str:
    """The description of an input for people."""
    assert isinstance(description, tuple)
    shape, dtype, layout, constant = description
    text = f"{dtype}[{','.join(map(str, shape))}]"
    return text + ("" if layout == "contiguous" else f":{layout}") + ("" if constant is None else f":const{constant}")


RECORDER = Recorder()
