"""Embeddings on a Gaudi: no new graph for any number of points, and no window of another size."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.gaudi.process import run

STRICT = {"PT_HPU_LAZY_MODE": "1", "PT_HPU_AUTOLOAD": "0", "PT_HPU_PLACE_ON_CPU": "none"}


def _embed() -> dict[str, Any]:
    """Maps and points in every number and mode, once warm; what the card compiled for them."""
    from lseg_serve.segmenter import EmbedOptions, InvalidOptionError
    from tests.gaudi import workload

    segmenter = workload.segmenter(None)
    from habana_frameworks.torch.simulated import counts

    segmenter.warm_up()
    before = counts()
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)
    shapes = []
    for mode in ("fast", "accurate"):
        options = EmbedOptions(mode=mode, dtype="float32")
        shapes.append(segmenter.embed(image, labels=["cat"], options=options).vectors.shape)
        for count in (1, 2, 7, 100, 1001):
            points = rng.uniform(0, (89, 59), (count, 2))
            found = segmenter.embed_points(image, points, options=options)
            assert found.shape == (count, segmenter.architecture.embedding)
            assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-4)
    changed = EmbedOptions(mode="accurate", scales=(1.0, 1.3), flip=False, base_size=70)
    segmenter.embed_points(image, [[1, 2]], options=changed)
    refused = []
    for options in (
        EmbedOptions(preset="openscene"),
        EmbedOptions(preset="vlmaps"),
        EmbedOptions(mode="accurate", crop_size=32),
    ):
        try:
            segmenter.embed(image, options=options)
        except InvalidOptionError as error:
            refused.append(error.message)
    done = counts().since(before)
    return {"compiles": done.compiles, "fallbacks": done.fallbacks, "refused": refused, "copies": done.device_to_host}


def test_no_number_of_points_compiles_a_graph(tmp_path: Any) -> None:
    done = run(_embed, SIMULATED_GAUDI_FOLDER=str(tmp_path), **STRICT)
    print(done)
    assert done["compiles"] == 0
    assert done["fallbacks"] == {}
    assert len(done["refused"]) == 3
    assert all("would be compiled first on this device; accepted:" in message for message in done["refused"])
