"""The protocols v1 and v2 through the front, without TLS as behind a gateway that ends it."""

from __future__ import annotations

import base64
import io
import json
import struct

import numpy as np
import pytest
from PIL import Image

from tests.front.conftest import FORM
from tests.support.front import Front
from tests.support.pictures import encoded, noise

LABELS = ["sky", "tree"]
LENGTH = "Inference-Header-Content-Length"


@pytest.fixture(scope="module")
def file() -> bytes:
    return encoded(noise(64, 96))


@pytest.fixture(scope="module")
def mask(plain_front: Front, file: bytes) -> np.ndarray:
    """The mask of the plain endpoint."""
    answer = plain_front.ask("POST", "/predictions/lseg", data=file, headers=FORM)
    assert answer.status_code == 200, answer.text
    assert "Strict-Transport-Security" not in answer.headers
    found = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert len(np.unique(found)) > 1
    return found


def test_v1_and_v2_give_the_mask_of_the_plain_endpoint(plain_front: Front, file: bytes, mask: np.ndarray) -> None:
    text = base64.b64encode(file).decode()
    answer = plain_front.ask("POST", "/v1/models/lseg:predict", json={"instances": [{"image": text, "labels": LABELS}]})
    (prediction,) = answer.json()["predictions"]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(prediction["mask"])))), mask)

    image = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}
    labels = {"name": "labels", "datatype": "BYTES", "shape": [2], "data": LABELS}
    for path in ("/v2/models/lseg/infer", "/v2/models/lseg/versions/1.0/infer"):
        answer = plain_front.ask("POST", path, json={"id": "7", "inputs": [image, labels]})
        assert answer.status_code == 200, (path, answer.text)
        document = answer.json()
        assert document["id"] == "7"
        found = document["outputs"][0]
        np.testing.assert_array_equal(np.array(found["data"], dtype=np.uint8).reshape(found["shape"]), mask)


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/octet-stream"}])
def test_the_binary_form_passes_both_ways(
    plain_front: Front, file: bytes, mask: np.ndarray, headers: dict[str, str]
) -> None:
    raw = struct.pack("<I", len(file)) + file
    image = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(raw)}}
    labels = {"name": "labels", "datatype": "BYTES", "shape": [2], "data": LABELS}
    head = json.dumps({"inputs": [image, labels], "parameters": {"binary_data_output": True}}).encode()
    answer = plain_front.ask(
        "POST", "/v2/models/lseg/infer", data=head + raw, headers={**headers, LENGTH: str(len(head))}
    )
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/octet-stream"), answer.text
    length = int(answer.headers[LENGTH])
    found = json.loads(answer.content[:length])["outputs"][0]
    pixels = answer.content[length : length + found["parameters"]["binary_data_size"]]
    np.testing.assert_array_equal(np.frombuffer(pixels, dtype=np.uint8).reshape(found["shape"]), mask)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/models/lseg:predict", b"{}", 400, "instances is null"),
        ("/v1/models/lseg:predict", b'{"instances": ["JVBERi0xLjc="]}', 415, "this is a PDF"),
        ("/v2/models/lseg/infer", b'{"inputs": [', 400, "is not valid JSON"),
        ("/v2/models/lseg/infer", b'{"id": "a"}', 400, "inputs is null"),
        ("/v2/models/lseg/infer", b"\x89PNG", 400, "no request of the protocol v2"),
        ("/v2/models/other/infer", b'{"inputs": []}', 404, "there is no such model"),
    ],
)
def test_whatever_is_wrong_is_told_as_text(plain_front: Front, path: str, body: bytes, status: int, words: str) -> None:
    answer = plain_front.ask("POST", path, data=body)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]


def test_a_client_cannot_name_the_protocol_of_a_plain_request(
    plain_front: Front, file: bytes, mask: np.ndarray
) -> None:
    answer = plain_front.ask("POST", "/predictions/lseg", data=file, headers={**FORM, "X-LSeg-Protocol": "v2"})
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), mask)


def test_models_are_listed(plain_front: Front) -> None:
    assert plain_front.ask("GET", "/v1/models").json() == {"models": ["lseg"]}
    assert plain_front.ask("GET", "/v1/models", key=None).status_code == 401
