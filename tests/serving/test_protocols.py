"""The protocols v1 and v2 at a real server, past the front: at its own routes, and at those of the plain endpoint."""

from __future__ import annotations

import base64
import io
import json
import struct
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from lseg_serve.server import LocalServer
from tests.serving.conftest import predicted
from tests.support.pictures import encoded, noise

LABELS = ["sky", "tree", "water"]
PICTURES = [noise(64, 96, seed) for seed in range(3)]
LENGTH = "Inference-Header-Content-Length"


@pytest.fixture(scope="module")
def base(server: LocalServer) -> str:
    return server.addresses.inference_url


@pytest.fixture(scope="module")
def masks(server: LocalServer) -> np.ndarray:
    """The masks of the plain endpoint [3, H, W]."""
    answers = [predicted(server, LABELS, picture) for picture in PICTURES]
    found = np.stack([np.asarray(Image.open(io.BytesIO(answer.content))) for answer in answers])
    assert all(len(np.unique(mask)) > 1 for mask in found)
    return found


def _bytes(*items: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(item)) + item for item in items)


def _text(picture: np.ndarray) -> str:
    return base64.b64encode(encoded(picture)).decode()


@pytest.mark.parametrize("kind", ["application/json", None, "text/plain"])
def test_v1_at_its_route(base: str, masks: np.ndarray, kind: str | None) -> None:
    document = {"instances": [_text(picture) for picture in PICTURES], "parameters": {"labels": LABELS}}
    headers = {} if kind is None else {"Content-Type": kind}
    answer = requests.post(f"{base}/v1/models/lseg:predict", data=json.dumps(document), headers=headers, timeout=60)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json"), answer.text
    predictions = answer.json()["predictions"]
    found = [np.asarray(Image.open(io.BytesIO(base64.b64decode(one["mask"])))) for one in predictions]
    np.testing.assert_array_equal(np.stack(found), masks)


@pytest.mark.parametrize("path", ["/v2/models/lseg/infer", "/predictions/lseg/1.0"])
@pytest.mark.parametrize("kind", ["application/json", None])
def test_v2_in_json(base: str, masks: np.ndarray, path: str, kind: str | None) -> None:
    image = {"name": "image", "datatype": "BYTES", "shape": [3], "data": [_text(picture) for picture in PICTURES]}
    document: dict[str, Any] = {"id": "5", "inputs": [image], "parameters": {"labels": ",".join(LABELS)}}
    headers = {} if kind is None else {"Content-Type": kind}
    answer = requests.post(base + path, data=json.dumps(document), headers=headers, timeout=60)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json"), answer.text
    mask, labels = answer.json()["outputs"]
    np.testing.assert_array_equal(np.array(mask["data"], dtype=np.uint8).reshape(mask["shape"]), masks)
    assert (answer.json()["id"], labels["data"]) == ("5", LABELS)


@pytest.mark.parametrize("kind", ["application/octet-stream", None])
def test_v2_in_binary_form(base: str, masks: np.ndarray, kind: str | None) -> None:
    raw = [np.stack(PICTURES).tobytes(), _bytes(*(label.encode() for label in LABELS))]
    inputs = [
        {
            "name": "image",
            "datatype": "UINT8",
            "shape": [3, 64, 96, 3],
            "parameters": {"binary_data_size": len(raw[0])},
        },
        {"name": "labels", "datatype": "BYTES", "shape": [3], "parameters": {"binary_data_size": len(raw[1])}},
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    headers = {LENGTH: str(len(head)), **({} if kind is None else {"Content-Type": kind})}
    answer = requests.post(f"{base}/v2/models/lseg/infer", data=head + b"".join(raw), headers=headers, timeout=60)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/octet-stream"), answer.text
    length = int(answer.headers[LENGTH])
    mask, _ = json.loads(answer.content[:length])["outputs"]
    found = np.frombuffer(answer.content[length : length + masks.size], dtype=np.uint8).reshape(mask["shape"])
    np.testing.assert_array_equal(found, masks)
    assert answer.content[length + masks.size :] == raw[1]


@pytest.mark.parametrize(
    ("path", "document", "status"),
    [
        ("/v1/models/lseg:predict", {"instances": []}, 400),
        ("/v1/models/lseg:predict", {"instances": [base64.b64encode(b"%PDF-1.7").decode()]}, 415),
        ("/v2/models/lseg/infer", {"inputs": [{"name": "image"}]}, 400),
    ],
)
def test_errors_are_texts(base: str, path: str, document: object, status: int) -> None:
    answer = requests.post(base + path, json=document, timeout=60)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert isinstance(answer.json()["error"], str)


def test_a_raw_mask_fits_where_the_same_in_json_is_refused(base: str) -> None:
    """The server's limit is 3 MB of response."""
    raw = np.zeros((1200, 1300, 1), dtype=np.uint8)
    inputs = [
        {"name": "image", "datatype": "UINT8", "shape": [*raw.shape], "parameters": {"binary_data_size": raw.size}}
    ]
    for binary, status in ((False, 413), (True, 200)):
        head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": binary}}).encode()
        body = head + raw.tobytes()
        answer = requests.post(f"{base}/v2/models/lseg/infer", data=body, headers={LENGTH: str(len(head))}, timeout=60)
        assert answer.status_code == status, answer.content[:300]
