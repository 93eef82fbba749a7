"""In which types the image network computes on a device, seen from the calls themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lseg_serve.segmenter.check.report import Check
from lseg_serve.segmenter.engine.network import Network

_PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "convolution", "linear", "matmul", "sdpa", "scaled_dot_product")
# In bfloat16 these lose accuracy.
_EXACT = ("_softmax", "native_layer_norm", "upsample_bilinear2d")


class _Recorder(TorchDispatchMode):
    """Counts operators with the type of their first tensor."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[tuple[str, str]] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        first = next((one for one in args if isinstance(one, Tensor)), None)
        if first is not None:
            self.counts[func.overloadpacket.__name__, _short(first.dtype)] += 1
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def types_of(network: Network) -> tuple[dict[str, int], Check]:
    """How often the image network calls products, norms, softmax and resizes in which type, and whether as it should.

    Products have the type of `reduced_precision`, or else that of the weights; the rest is float32 under it.
    """
    device, side = network.device, network.shapes.window.height
    pixels = device.to_device(torch.zeros(1, 3, side, side))
    recorder = _Recorder()
    with device.reduced_precision():
        reduced = _short((pixels[0, 0] @ pixels[0, 0]).dtype)
        with recorder:
            decoded = network.net.decode(pixels)
    device.to_host(decoded)
    counts = {pair: count for pair, count in recorder.counts.items() if _is_product(pair[0]) or pair[0] in _EXACT}
    stored = _short(network.net.head.weight.dtype)
    wanted = reduced if stored == "float32" else stored
    others = sorted({f"{name} {kind}" for name, kind in counts if _is_product(name) and kind != wanted})
    if stored == "float32":
        others += sorted({f"{name} {kind}" for name, kind in counts if name in _EXACT and kind != "float32"})
    exact = "softmax, norms and resizes in float32" if stored == "float32" else f"weights in {stored}"
    found = f"not as they should: {', '.join(others)}" if others else f"products in {wanted}, {exact}"
    return (
        {f"{name} {kind}": count for (name, kind), count in sorted(counts.items())},
        Check("types of the products", not others, found),
    )


def _is_product(name: str) -> bool:
    return name.lstrip("_").startswith(_PRODUCTS)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
