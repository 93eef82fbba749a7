"""Attention on the card: its products in bfloat16, its softmax in float32, by Gaudi's kernel where that is accurate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from lseg_serve.model import attend_by_products
from tests.gaudi.process import child, run

LAZY = {"PT_HPU_LAZY_MODE": "1", "PT_HPU_AUTOLOAD": "0", "PT_HPU_PLACE_ON_CPU": "none"}
PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "convolution", "FusedSDPA")


def _types(attention: str, bfloat16: bool = True) -> dict[str, int]:
    """How often each operator of the image network ran in which type."""
    from lseg_serve.segmenter.config import HpuParams
    from tests.gaudi import workload

    hpu = HpuParams(recipe_cache="").replaced(attention=attention, bfloat16=bfloat16)
    segmenter = workload.segmenter(hpu=hpu)
    from habana_frameworks.torch.simulated import counts

    pixels = segmenter.device.to_device(torch.zeros(1, 3, 64, 64))
    before = counts()
    with segmenter.device.reduced_precision(), torch.no_grad():
        segmenter.net.decode(pixels)
    assert segmenter.architecture.depth == 4
    return counts().since(before).types


def _of(types: dict[str, int], *operators: str) -> set[str]:
    return {kind for operator, kind in map(str.split, types) if operator in operators}


@pytest.mark.parametrize(("fused", "attention"), [("", "auto"), ("exact", "products"), ("coarse", "auto")])
def test_all_products_are_bfloat16_and_softmax_and_norms_float32(fused: str, attention: str, tmp_path: Path) -> None:
    settings = {**LAZY, "SIMULATED_GAUDI_FOLDER": str(tmp_path), "SIMULATED_GAUDI_FUSED_SDPA": fused}
    types = run(_types, attention, **settings)
    print(types)
    assert _of(types, *PRODUCTS) == {"bfloat16"}
    assert types["bmm bfloat16"] == 2 * 4 + 4  # two for each block, and one for the readout of each level
    assert types["_softmax float32"] == 4
    assert _of(types, "_softmax", "native_layer_norm", "upsample_bilinear2d") == {"float32"}


@pytest.mark.parametrize("attention", ["auto", "fused"])
def test_gaudis_kernel_is_taken_where_it_is_accurate(attention: str, tmp_path: Path) -> None:
    settings = {**LAZY, "SIMULATED_GAUDI_FOLDER": str(tmp_path), "SIMULATED_GAUDI_FUSED_SDPA": "exact"}
    types = run(_types, attention, **settings)
    assert types["FusedSDPA bfloat16"] == 4
    assert _of(types, *PRODUCTS) == {"bfloat16"}


def test_float32_is_float32_throughout(tmp_path: Path) -> None:
    settings = {**LAZY, "SIMULATED_GAUDI_FOLDER": str(tmp_path), "SIMULATED_GAUDI_FUSED_SDPA": "exact"}
    types = run(_types, "auto", False, **settings)
    assert {name.split()[1] for name in types} == {"float32"}
    assert "FusedSDPA float32" not in types


def test_a_kernel_that_is_not_accurate_is_told(tmp_path: Path) -> None:
    settings = {**LAZY, "SIMULATED_GAUDI_FOLDER": str(tmp_path), "SIMULATED_GAUDI_FUSED_SDPA": "coarse"}
    with child(_types, "auto", **settings) as outcome:
        assert "Attention by products, because FusedSDPA has a mean error of" in outcome.stderr


def test_a_kernel_that_is_asked_for_and_absent_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"hpu\.attention is 'fused', but .* accepted here: auto, products"):
        run(_types, "fused", SIMULATED_GAUDI_FOLDER=str(tmp_path), **LAZY)


def test_attention_by_products_is_torchs() -> None:
    queries, keys, values = torch.randn(3, 2, 4, 50, 16, generator=torch.Generator().manual_seed(0)).unbind(0)
    expected = F.scaled_dot_product_attention(queries, keys, values)
    torch.testing.assert_close(attend_by_products(queries, keys, values), expected, atol=1e-6, rtol=1e-5)
