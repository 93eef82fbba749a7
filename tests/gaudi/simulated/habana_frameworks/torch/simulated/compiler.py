"""`torch.compile(backend="hpu_backend")`: a graph that Dynamo found runs, and counts, as a whole.

Dynamo finds it by the entry point in this package's metadata, so that nothing of Dynamo is loaded before it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from habana_frameworks.torch.simulated.counts import CompiledGraph
from habana_frameworks.torch.simulated.recipes import RECIPES
from habana_frameworks.torch.simulated.recorder import RECORDER, readable, tensor_description
from habana_frameworks.torch.simulated.tensor import HpuTensor
from habana_frameworks.torch.utils.internal import is_lazy

_NAME = "hpu_backend"


def hpu_backend(module: torch.fx.GraphModule, example_inputs: list[Any]) -> Callable[..., Any]:
    """A function that runs the graph, as one recipe for each set of input shapes.

    Raises:
        RuntimeError: the process runs in lazy mode.
    """
    if is_lazy():
        raise RuntimeError("simulated Gaudi: hpu_backend needs eager mode (PT_HPU_LAZY_MODE=0)")
    operators = tuple(str(node.target) for node in module.graph.nodes if node.op.startswith("call"))
    code = module.code

    def run(*args: Any) -> Any:
        RECORDER.silent = True
        try:
            result = module(*args)
        finally:
            RECORDER.silent = False
        inputs = tuple(tensor_description(one) for one in args if isinstance(one, HpuTensor))
        autocast = (torch.is_autocast_enabled("hpu"), str(torch.get_autocast_dtype("hpu")))
        outputs = len(result) if isinstance(result, tuple | list) else 1
        graph = CompiledGraph("", operators, tuple(map(readable, inputs)), outputs, _NAME)
        RECIPES.prepare((code, autocast, inputs), graph)
        return result

    return run
