"""A request that would take too long is refused before it is computed, by a real server; the worker goes on."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from tests.serving.conftest import error_of, export_archive, running

# Seconds, and requests of a batch: what is left for one of them is 1 s.
_TIMEOUT, _BATCH = 40, 40


def _png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _worker(model: str) -> int:
    """The process of the model's worker, which is ready."""
    (worker,) = requests.get(model, timeout=60).json()[0]["workers"]
    assert worker["status"] == "READY"
    return int(worker["pid"])


@pytest.mark.slow
def test_pixels_times_labels_are_refused_and_the_worker_goes_on(small_checkpoint: Path, tmp_path: Path) -> None:
    archive = export_archive(
        small_checkpoint, tmp_path / "store", responseTimeout=_TIMEOUT, batchSize=_BATCH, maxBatchDelay=1
    )
    with running(archive, tmp_path / "run") as server:
        url = f"{server.addresses.inference_url}/predictions/lseg"
        model = f"{server.addresses.management_url}/models/lseg"
        described = requests.get(f"{model}?customized=true", timeout=60).json()[0]["customizedMetadata"]
        assert described["limits"]["max_request_seconds"] == _TIMEOUT // _BATCH
        worker = _worker(model)
        labels = ",".join(f"label {number}" for number in range(255))
        fields = {"labels": labels, "mode": "accurate"}
        refused = requests.post(url, data=fields, files={"image": _png(65535, 976)}, timeout=60)
        error = error_of(refused)
        assert (refused.status_code, error["type"]) == (413, "request_too_costly")
        assert "65535x976 pixels with 255 labels take an estimated" in str(error["message"])
        assert "accepted: up to 1 s (max_request_seconds in model-config.yaml), as of up to " in str(error["message"])
        accepted = requests.post(url, data={"labels": "cat"}, files={"image": _png(64, 48)}, timeout=60)
        assert (accepted.status_code, accepted.headers["Content-Type"]) == (200, "image/png")
        assert _worker(model) == worker, "the same process"
