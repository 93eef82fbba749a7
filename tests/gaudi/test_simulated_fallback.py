"""Operators that the simulated Gaudi cannot run itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from tests.gaudi.process import simulated


def image(*shape: int) -> torch.Tensor:
    import habana_frameworks.torch.core  # noqa: F401

    return torch.arange(1.0, 1 + torch.Size(shape).numel()).view(shape).to("hpu")


MISSING: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "aten::_upsample_bilinear2d_aa": lambda x: F.interpolate(x, size=(3, 3), mode="bilinear", antialias=True),
    "aten::_upsample_bicubic2d_aa": lambda x: F.interpolate(x, size=(3, 3), mode="bicubic", antialias=True),
    "aten::im2col": lambda x: F.unfold(x, 2),
    "aten::native_group_norm": lambda x: F.group_norm(x, 1),
    "aten::bincount": lambda x: torch.bincount(x.long().flatten()),
    "aten::histc": lambda x: torch.histc(x, 4),
    "aten::_cdist_forward": lambda x: torch.cdist(x[0], x[0]),
    "aten::mode": lambda x: torch.mode(x.flatten())[0],
    "aten::bucketize.Tensor": lambda x: torch.bucketize(x, x.flatten()),
    "aten::isin.Tensor_Tensor": lambda x: torch.isin(x, x),
    "aten::_fft_r2c": lambda x: torch.fft.rfft(x),
    "aten::topk": lambda x: torch.topk(x.flatten(), 2, sorted=False)[0],
}
NATIVE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "bilinear": lambda x: F.interpolate(x, size=(3, 3), mode="bilinear", align_corners=True),
    "bicubic": lambda x: F.interpolate(x, size=(3, 3), mode="bicubic", align_corners=False),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[-1:]),
    "argmax": lambda x: x.argmax(1),
    "topk": lambda x: torch.topk(x.flatten(), 2)[0],
    "pad": lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
    "index": lambda x: x[torch.arange(1, device=x.device), torch.arange(1, device=x.device)],
    "max_pool": lambda x: F.max_pool2d(x, 2),
}


@simulated()
def test_missing_operators_run_on_the_host_between_two_graphs() -> None:
    from habana_frameworks.torch.hpu.metrics import metric_global
    from habana_frameworks.torch.simulated import counts

    for name, operate in MISSING.items():
        x = image(1, 2, 4, 4)
        before = counts()
        result = operate(x + 1) * 1
        done = counts().since(before)
        assert done.fallbacks == {name: 1}
        assert done.launches >= 1 and done.device_to_host >= 1 and done.host_to_device >= 1, name
        torch.testing.assert_close(result.cpu(), operate(x.cpu() + 1) * 1, msg=name)
    totals = dict(metric_global("cpu_fallback").stats())
    assert totals == {"TotalNumber": len(MISSING), "FallbackOps": dict.fromkeys(MISSING, 1)}


@simulated(PT_HPU_PLACE_ON_CPU="none")
def test_in_strict_mode_they_are_refused_and_native_ones_run() -> None:
    x = image(1, 2, 4, 4)
    for name, operate in MISSING.items():
        with pytest.raises(RuntimeError, match=f"^{name} is not yet supported on HPU"):
            operate(x)
    for operate in NATIVE.values():
        torch.testing.assert_close(operate(x).cpu(), operate(x.cpu()))


@simulated(PT_HPU_PLACE_ON_CPU="im2col,histc")
def test_a_list_allows_what_is_in_it() -> None:
    x = image(1, 2, 4, 4)
    F.unfold(x, 2)
    with pytest.raises(RuntimeError, match="bincount is not yet supported"):
        torch.bincount(x.long().flatten())


@simulated(SIMULATED_GAUDI_FALLBACK_OPS="relu", SIMULATED_GAUDI_NATIVE_OPS="im2col")
def test_the_list_can_be_changed() -> None:
    from habana_frameworks.torch.simulated import counts

    x = image(1, 2, 4, 4)
    F.unfold(x.relu(), 2)
    assert counts().fallbacks == {"aten::relu": 1}


@simulated(SIMULATED_GAUDI_FALLBACK_OPS="argmax:int64")
def test_an_operator_may_be_missing_for_one_type() -> None:
    from habana_frameworks.torch.simulated import counts

    x = image(1, 2, 4, 4)
    x.argmax(1), x.int().argmax(1)
    assert counts().fallbacks == {}
    x.long().argmax(1)
    assert counts().fallbacks == {"aten::argmax": 1}


@simulated()
def test_no_fall_back_while_a_graph_is_captured() -> None:
    from habana_frameworks.torch.hpu import wrap_in_hpu_graph_func

    with pytest.raises(RuntimeError, match=r"^cpu fallback is not supported during hpu graph capturing$"):
        wrap_in_hpu_graph_func(lambda x: F.unfold(x, 2))(image(1, 2, 4, 4))
    assert (image(3) + 1).cpu().tolist() == [2, 3, 4]  # the capture is over
