"""Requests of the protocols v1 and v2 get the masks of the plain endpoint, in the protocols' forms."""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lseg_serve.handler import pipeline
from lseg_serve.handler.protocols.responding import respond
from lseg_serve.handler.responses import Response, ServerInfo
from lseg_serve.handler.watching.records import Record
from lseg_serve.model import LSeg
from lseg_serve.segmenter import Config, Pixels, Segmenter
from lseg_serve.segmenter.config import StaticImageSizeParams
from lseg_serve.segmenter.cost import CostModel, Rates
from lseg_serve.segmenter.preprocessing.buckets import choose_bucket
from tests.support.pictures import encoded, noise

CONFIG = Config(
    device="cpu",
    static_image_size_params=StaticImageSizeParams(hw_ratios=((1, 1), (2, 3)), short_sizes=(32,)),
    max_image_pixels=10_000,
)
SERVER = ServerInfo("lseg", "1.0", "cpu", 300_000)
LABELS = ["猫", "dog", "grass"]
PICTURES = [noise(40, 60, seed) for seed in range(3)]
FILES = [encoded(picture) for picture in PICTURES]
LENGTH = "Inference-Header-Content-Length"


@pytest.fixture(scope="module")
def segmenter(small_net: LSeg) -> Segmenter:
    return Segmenter(small_net, config=CONFIG, label_set=("wall", "floor"))


@pytest.fixture(scope="module")
def masks(segmenter: Segmenter) -> list[Pixels]:
    """The masks of the plain endpoint."""
    found = [_plain_mask(segmenter, file, LABELS) for file in FILES]
    assert all(len(np.unique(mask)) > 1 for mask in found), "a mask of one label could not show a mistake"
    return found


def _plain_mask(segmenter: Segmenter, file: bytes, labels: Sequence[str]) -> Pixels:
    row = {"image": bytearray(file), "labels": bytearray(json.dumps(labels).encode())}
    (response,) = pipeline.respond(segmenter, [row], [{}], SERVER)
    return np.asarray(Image.open(io.BytesIO(response.body)))


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _asked(segmenter: Segmenter, body: object, server: ServerInfo = SERVER, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    (response,) = respond(segmenter, [{"body": body}], [named], server)
    return response


def _v2(images: Sequence[str], labels: Sequence[str] | None = LABELS, **members: Any) -> dict[str, Any]:
    inputs = [{"name": "image", "datatype": "BYTES", "shape": [len(images)], "data": list(images)}]
    if labels is not None:
        inputs.append({"name": "labels", "datatype": "BYTES", "shape": [len(labels)], "data": list(labels)})
    return {"inputs": inputs, **members}


def _outputs(response: Response) -> dict[str, dict[str, Any]]:
    assert (response.status, response.content_type) == (200, "application/json"), response.body
    document = json.loads(response.body)
    assert (document["model_name"], document["model_version"]) == ("lseg", "1.0")
    return {entry["name"]: entry for entry in document["outputs"]}


def _mask(entry: Mapping[str, Any]) -> Pixels:
    assert entry["datatype"] == "UINT8"
    mask: Pixels = np.array(entry["data"], dtype=np.uint8).reshape(entry["shape"])
    return mask


def _bytes_tensor(items: Sequence[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(item)) + item for item in items)


def _binary(images: bytes, shape: Sequence[int], datatype: str = "BYTES", **members: Any) -> tuple[bytes, str]:
    """A body of v2's binary form with labels in it, and the value of its header."""
    labels = _bytes_tensor([label.encode() for label in LABELS])
    inputs = [
        {"name": "image", "datatype": datatype, "shape": list(shape), "parameters": {"binary_data_size": len(images)}},
        {"name": "labels", "datatype": "BYTES", "shape": [3], "parameters": {"binary_data_size": len(labels)}},
    ]
    head = json.dumps({"inputs": inputs, **members}).encode()
    return head + images + labels, str(len(head))


def _error(response: Response, status: int) -> str:
    assert (response.status, response.content_type) == (status, "application/json"), response.body
    document = json.loads(response.body)
    assert list(document) == ["error"]
    assert isinstance(document["error"], str)
    assert response.headers["X-LSeg-Error"] == response.body.decode()
    return str(document["error"])


@pytest.mark.parametrize(
    "instance",
    [
        lambda file: {"image": _text(file), "labels": LABELS},
        lambda file: {"image": {"b64": _text(file)}, "labels": ",".join(LABELS), "mode": None},
        lambda file: _text(file),
        lambda file: {"b64": _text(file)},
    ],
)
def test_v1_has_a_prediction_for_each_instance(segmenter: Segmenter, masks: list[Pixels], instance: Any) -> None:
    body = {"instances": [instance(file) for file in FILES], "parameters": {"labels": LABELS}}
    response = _asked(segmenter, body)
    assert (response.status, response.content_type) == (200, "application/json")
    predictions = json.loads(response.body)["predictions"]
    assert len(predictions) == len(masks)
    for prediction, mask in zip(predictions, masks, strict=True):
        assert [label["name"] for label in prediction["labels"]] == LABELS
        found = np.asarray(Image.open(io.BytesIO(base64.b64decode(prediction["mask"]))))
        np.testing.assert_array_equal(found, mask)


def test_v1_gives_other_formats_as_base64(segmenter: Segmenter) -> None:
    row = {"image": bytearray(FILES[0]), "format": bytearray(b"overlay")}
    (plain,) = pipeline.respond(segmenter, [row], [{}], SERVER)
    body = {"instances": [{"image": _text(FILES[0]), "format": "overlay"}, {"image": _text(FILES[1])}]}
    overlay, document = json.loads(_asked(segmenter, body).body)["predictions"]
    assert overlay == {"content_type": "image/png", "b64": _text(plain.body)}
    assert [label["name"] for label in document["labels"]] == ["wall", "floor"]
    (by_header,) = json.loads(
        _asked(segmenter, {"instances": [_text(FILES[0])]}, X_LSeg_Format="overlay").body
    ).values()
    assert by_header == [overlay]


def test_v2_gives_the_mask_as_a_tensor(segmenter: Segmenter, masks: list[Pixels]) -> None:
    response = _asked(segmenter, _v2([_text(FILES[0])], id="a-1", model_name="lseg"))
    outputs = _outputs(response)
    assert list(outputs) == ["mask", "labels"]
    np.testing.assert_array_equal(_mask(outputs["mask"]), masks[0])
    assert outputs["labels"] == {"name": "labels", "datatype": "BYTES", "shape": [3], "data": LABELS}
    assert json.loads(response.body)["id"] == "a-1"
    assert "id" not in json.loads(_asked(segmenter, _v2([_text(FILES[0])])).body)


def test_v2_gives_a_batch_where_there_are_several(segmenter: Segmenter, masks: list[Pixels]) -> None:
    files = [_text(file) for file in FILES]
    np.testing.assert_array_equal(_mask(_outputs(_asked(segmenter, _v2(files)))["mask"]), np.stack(masks))
    one = _v2(files[:1])
    one["inputs"][0]["shape"] = [1, 1]
    np.testing.assert_array_equal(_mask(_outputs(_asked(segmenter, one))["mask"]), masks[0][None])


@pytest.mark.parametrize("channels", [3, 1])
def test_v2_takes_pixels(segmenter: Segmenter, channels: int) -> None:
    picture = PICTURES[0][:, :, :channels]
    labels = _v2([], LABELS)["inputs"][1]
    expected = _plain_mask(segmenter, encoded(picture[:, :, 0] if channels == 1 else picture), LABELS)
    shapes = [picture.shape, (1, *picture.shape)] + [picture.shape[:2]] * (channels == 1)
    for shape in shapes:
        image = {"name": "image", "datatype": "UINT8", "shape": list(shape), "data": picture.ravel().tolist()}
        found = _mask(_outputs(_asked(segmenter, {"inputs": [image, labels]}))["mask"])
        np.testing.assert_array_equal(found, expected[None] if len(shape) == 4 else expected)
        nested = {**image, "data": picture.reshape(shape).tolist()}
        assert (
            _asked(segmenter, {"inputs": [nested, labels]}).body == _asked(segmenter, {"inputs": [image, labels]}).body
        )
    file = {"name": "image", "datatype": "UINT8", "shape": [len(FILES[0])], "data": list(FILES[0])}
    assert _asked(segmenter, {"inputs": [file, labels]}).body == _asked(segmenter, _v2([_text(FILES[0])])).body


def test_v2_in_binary_form_both_ways(segmenter: Segmenter, masks: list[Pixels]) -> None:
    body, length = _binary(_bytes_tensor(FILES), [3], parameters={"binary_data_output": True}, id="7")
    response = _asked(segmenter, bytearray(body), Inference_header_content_length=length)
    assert (response.status, response.content_type) == (200, "application/octet-stream")
    head = int(response.headers[LENGTH])
    document, raw = json.loads(response.body[:head]), response.body[head:]
    assert document["id"] == "7"
    sizes = [output["parameters"]["binary_data_size"] for output in document["outputs"]]
    assert sum(sizes) == len(raw)
    found = np.frombuffer(raw[: sizes[0]], dtype=np.uint8).reshape(document["outputs"][0]["shape"])
    np.testing.assert_array_equal(found, np.stack(masks))
    assert raw[sizes[0] :] == _bytes_tensor([label.encode() for label in LABELS])
    assert all("data" not in output for output in document["outputs"])


def test_v2_takes_raw_pixels_and_answers_in_json_unless_asked(segmenter: Segmenter, masks: list[Pixels]) -> None:
    body, length = _binary(np.stack(PICTURES).tobytes(), [3, 40, 60, 3], "UINT8")
    outputs = _outputs(_asked(segmenter, bytearray(body), Inference_Header_Content_Length=length))
    np.testing.assert_array_equal(_mask(outputs["mask"]), np.stack(masks))


def test_v2_outputs_are_those_that_were_asked_for(segmenter: Segmenter, masks: list[Pixels]) -> None:
    wanted = [{"name": "labels"}, {"name": "mask", "parameters": {"binary_data": True}}]
    response = _asked(segmenter, _v2([_text(FILES[0])], outputs=wanted))
    head = int(response.headers[LENGTH])
    labels, mask = json.loads(response.body[:head])["outputs"]
    assert labels["data"] == LABELS
    assert mask["parameters"] == {"binary_data_size": masks[0].size}
    assert response.body[head:] == masks[0].tobytes()


def test_v2_gives_formats_as_files(segmenter: Segmenter) -> None:
    sizes = [encoded(noise(20, 30, 1)), encoded(noise(30, 20, 2))]
    rows = [{"image": bytearray(file), "format": bytearray(b"overlay")} for file in sizes]
    plain = [response.body for response in pipeline.respond(segmenter, rows, [{}, {}], SERVER)]
    body = _v2([_text(file) for file in sizes], None, parameters={"format": "overlay"})
    content = _outputs(_asked(segmenter, body))["content"]
    assert content["parameters"] == {"content_type": "image/png"}
    assert content["data"] == [_text(one) for one in plain]
    response = _asked(segmenter, {**body, "outputs": [{"name": "content", "parameters": {"binary_data": True}}]})
    assert response.body[int(response.headers[LENGTH]) :] == _bytes_tensor(plain)
    document = _outputs(_asked(segmenter, _v2([_text(FILES[0])], parameters={"format": "json"})))["content"]
    assert json.loads(document["data"][0])["width"] == 60


def test_v2_gives_embeddings_of_labels_without_an_image(segmenter: Segmenter) -> None:
    body = {"inputs": _v2([])["inputs"][1:], "parameters": {"format": "embeddings"}}
    content = _outputs(_asked(segmenter, body))["content"]
    arrays = np.load(io.BytesIO(base64.b64decode(content["data"][0])))
    assert arrays["label_embeddings"].shape[0] == 3


def test_without_a_content_type_json_is_recognised(segmenter: Segmenter) -> None:
    v1 = {"instances": [_text(FILES[0])]}
    for document in (v1, _v2([_text(FILES[0])])):
        text = json.dumps(document).encode()
        bodies: list[tuple[object, dict[str, Any]]] = [
            (document, {"Content_Type": "application/json"}),
            (bytearray(text), {}),
            (bytearray(b" \n" + text), {"Content_Type": "text/plain"}),
            (bytearray(gzip.compress(text)), {"Content_Encoding": "gzip"}),
        ]
        bodies_of = {_without_timings(_asked(segmenter, body, **headers)) for body, headers in bodies}
        assert len(bodies_of) == 1


def _without_timings(response: Response) -> str:
    assert response.status == 200, response.body
    document = json.loads(response.body)
    for prediction in document.get("predictions", []):
        del prediction["timings_ms"]
    return json.dumps(document)


IMAGE = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [_text(FILES[0])]}
BAD: dict[str, tuple[object, dict[str, str], int, str]] = {
    "v1: no list": ({"instances": 3}, {}, 400, "instances is a number"),
    "v1: none": ({"instances": []}, {}, 400, "instances is an empty list"),
    "v1: an odd instance": ({"instances": [_text(FILES[0]), 7]}, {}, 400, "instance 2 is a number"),
    "v1: an odd member": ({"instances": ["a"], "instance": 1}, {}, 400, "unknown member 'instance'"),
    "v1: no picture": ({"instances": [_text(FILES[0]), _text(b"%PDF-1.7")]}, {}, 415, "image 2 of 2: this is a PDF"),
    "v1: an unknown option": ({"instances": [{"image": "a", "lables": "b"}]}, {}, 400, "unknown field 'lables'"),
    "v1: no image": ({"instances": [{"labels": ["a"]}]}, {}, 400, "there is no image"),
    "v1: odd parameters": ({"instances": ["a"], "parameters": []}, {}, 400, "parameters is a list"),
    "v1: too many": ({"instances": ["a"] * 65}, {}, 413, "65 instances; accepted: up to 64"),
    "v2: no list": ({"inputs": {}}, {}, 400, "inputs is an object"),
    "v2: no image": (_v2([])["inputs"] and {"inputs": []}, {}, 400, "there is no input image"),
    "v2: an odd tensor": ({"inputs": [1]}, {}, 400, "an input is a number"),
    "v2: another tensor": ({"inputs": [{**IMAGE, "name": "x"}]}, {}, 400, "unknown input 'x'; accepted: image, labels"),
    "v2: two images": ({"inputs": [IMAGE, IMAGE]}, {}, 400, "two inputs image"),
    "v2: floats": ({"inputs": [{**IMAGE, "datatype": "FP32"}]}, {}, 400, "is 'FP32'; accepted: BYTES, UINT8"),
    "v2: a wrong count": ({"inputs": [{**IMAGE, "shape": [2]}]}, {}, 400, "has 1 elements, and its shape [2] has 2"),
    "v2: an odd shape": ({"inputs": [{**IMAGE, "shape": [-1]}]}, {}, 400, "the shape of the input image is [-1]"),
    "v2: no shape": ({"inputs": [{**IMAGE, "shape": None}]}, {}, 400, "the shape of the input image is None"),
    "v2: no data": ({"inputs": [{**IMAGE, "data": None}]}, {}, 400, "data of the input image is null"),
    "v2: no base64": ({"inputs": [{**IMAGE, "data": ["?"]}]}, {}, 400, "no base64"),
    "v2: numbers as BYTES": ({"inputs": [{**IMAGE, "data": [1]}]}, {}, 400, "has a number (1); accepted: texts"),
    "v2: no UINT8": (
        {"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 1], "data": [256]}]}, {}, 400, "from 0 to 255",
    ),
    "v2: two channels": (
        {"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 1, 2], "data": [1, 2]}]}, {}, 400, "[1, 1, 2]",
    ),
    "v2: too many": (_v2(["a"] * 65), {}, 413, "65 images; accepted: up to 64"),
    "v2: too many of nothing": (
        {"inputs": [{"name": "image", "datatype": "UINT8", "shape": [2**31 - 1, 0, 0, 3], "data": []}]}, {}, 413,
        "2147483647 images; accepted: up to 64",
    ),
    "v2: no pixels": (
        {"inputs": [{"name": "image", "datatype": "UINT8", "shape": [0, 0, 3], "data": []}]}, {}, 400, "",
    ),
    "v2: an odd id": ({"id": 4, "inputs": [IMAGE]}, {}, 400, "id is a number (4); accepted: text"),
    "v2: an odd option": ({"inputs": [IMAGE], "parameters": {"mode": "best"}}, {}, 400, "mode is 'best'"),
    "v2: an odd output": ({"inputs": [IMAGE], "outputs": [{"name": "m"}]}, {}, 400, "accepted: mask, labels"),
    "v2: classes": (
        {"inputs": [IMAGE], "outputs": [{"name": "mask", "parameters": {"classification": 3}}]}, {}, 400, "binary_data",
    ),
    "v2: an odd flag": ({"inputs": [IMAGE], "parameters": {"binary_data_output": 1}}, {}, 400, "true or false"),
    "v2: different sizes": (
        _v2([_text(FILES[0]), _text(encoded(noise(20, 20)))]), {}, 400, "different sizes (60x40, 20x20)",
    ),
    "v2: more pixels than one image may have": (
        _v2([_text(encoded(noise(60, 60, seed))) for seed in range(3)]), {}, 413, "image 1 of 3: ",
    ),
    "binary: no length": (bytearray(b"{}"), {"Inference_Header_Content_Length": "x"}, 400, "is 'x'; accepted"),
    "binary: too long": (bytearray(b"{}"), {"Inference_Header_Content_Length": "3"}, 400, "the 2 bytes of the body"),
    "binary: no JSON": (bytearray(b"{!"), {"Inference_Header_Content_Length": "2"}, 400, "is not valid JSON"),
    "named: broken JSON": (bytearray(b"{"), {"X_LSeg_Protocol": "v2"}, 400, "JSON object with inputs"),
    "named: half a document": (bytearray(b'{"inputs": ['), {"X_LSeg_Protocol": "v2"}, 400, "is not valid JSON"),
    "named: an image": (bytearray(FILES[0]), {"X_LSeg_Protocol": "v1"}, 400, "no request of the protocol v1"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_errors_are_texts_and_concern_one_request(segmenter: Segmenter, name: str) -> None:
    body, headers, status, words = BAD[name]
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    good: dict[str, object] = {"body": _v2([_text(FILES[0])])}
    before, bad, after, plain = respond(
        segmenter, [good, {"body": body}, good, {"body": bytearray(b"hello")}], [{}, named, {}, {}], SERVER
    )
    assert words in _error(bad, status)
    assert before.status == after.status == 200
    assert json.loads(plain.body)["error"]["type"] == "unsupported_image"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda body, head: (body + b"!", head), "1 bytes behind the tensors belong to none"),
        (lambda body, head: (body[:-1], head), "bytes are left for it"),
        (lambda body, head: (body[: int(head)] + b"\xff" * (len(body) - int(head)), head), "does not fit"),
    ],
)
def test_raw_tensors_that_do_not_fit_are_refused(segmenter: Segmenter, change: Any, words: str) -> None:
    body, length = change(*_binary(_bytes_tensor(FILES[:1]), [1]))
    assert words in _error(_asked(segmenter, bytearray(body), Inference_Header_Content_Length=length), 400)


def test_a_mask_that_is_too_large_as_json_is_refused_and_passes_raw(segmenter: Segmenter) -> None:
    large = _v2([_text(encoded(noise(90, 110)))])
    small = ServerInfo("lseg", "1.0", "cpu", 64_000 + 12_000)
    assert "ask for binary output" in _error(_asked(segmenter, large, small), 413)
    assert _asked(segmenter, {**large, "parameters": {"binary_data_output": True}}, small).status == 200
    assert "fewer instances" in _error(
        _asked(segmenter, {"instances": [_text(encoded(noise(30, 30)))] * 9}, small), 413
    )


def test_a_request_with_several_images_has_one_record(segmenter: Segmenter) -> None:
    records = [Record("a"), Record("b"), Record("c")]
    bodies: list[dict[str, object]] = [
        {"body": _v2([_text(file) for file in FILES])},
        {"body": {"instances": [_text(b"%PDF-1.7")]}},
        {"body": {"inputs": 1}},
    ]
    respond(segmenter, bodies, [{}] * 3, SERVER, records)
    assert [record.status for record in records] == [200, 415, 400]
    assert [record.error for record in records] == [None, "unsupported_image", "invalid_request"]
    known = records[0].as_dict()
    assert (known["images"], known["labels"], known["height"], known["format"]) == (3, 3, 40, "png")
    assert {step.name for step in records[0].steps} == {"parse", "text", "decode", "segment", "response"}
    assert all(step.start <= step.end for step in records[0].steps)


def test_seconds_are_shared_by_the_images_of_a_request(small_net: LSeg) -> None:
    segmenter = Segmenter(small_net, config=CONFIG.replaced(max_request_seconds=1), label_set=("wall", "floor"))
    bucket = choose_bucket(segmenter.shapes.buckets, 40, 60)
    rates = Rates(0.4 / (bucket.height * bucket.width), 1e-12, 1e-12)
    segmenter.costs = CostModel(rates, segmenter.shapes, segmenter.config.accurate)
    files = [_text(file) for file in FILES]
    assert _asked(segmenter, _v2(files[:2])).status == 200
    assert "accepted: up to 0.333333 s" in _error(_asked(segmenter, _v2(files)), 413)
