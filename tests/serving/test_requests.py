"""The ways to ask, and the formats of the answer, at a real server."""

from __future__ import annotations

import base64
import gzip
import io
import json
import shutil
import subprocess
import zipfile
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pillow_heif
import pytest
import requests
import tifffile
from PIL import Image

from lseg_serve.client import LSegClient, read_mask
from lseg_serve.segmenter import Segmenter
from lseg_serve.server import LocalServer
from tests.conftest import PROJECT
from tests.serving.conftest import LABEL_SET
from tests.support.pictures import encoded

LABELS = ["cat", "grass", "other"]
PHOTO = PROJECT / "demo" / "photos" / "cat.jpg"
SIZE = (451, 300)  # width, height of the photo


@pytest.fixture(scope="module")
def segmenter(archive: Path) -> Segmenter:
    """The archive in this process, without a server."""
    return Segmenter.load(archive)


@pytest.fixture(scope="module")
def expected(segmenter: Segmenter) -> np.ndarray:
    """The mask that every way of asking must give."""
    mask = segmenter.segment(PHOTO, LABELS).mask
    assert len(np.unique(mask)) > 1, "a mask of one label could not show a mistake"
    return mask


def test_every_way_of_asking_takes_groups_and_a_template(server: LocalServer, url: str, photo: bytes) -> None:
    labels, bars, template = (
        ["cat", ["grass", "lawn", "turf"], "other"],
        "cat, grass|lawn | turf, other",
        "a photo of {}",
    )
    base = server.addresses.inference_url
    header = {"Content-Type": "image/jpeg", "X-LSeg-Labels": bars, "X-LSeg-Template": template}
    document = {"image": base64.b64encode(photo).decode(), "labels": labels, "template": [template]}
    lines = "cat\ngrass | lawn | turf\nother"
    answers = [
        requests.post(url, files={"image": photo}, data={"labels": bars, "template": template}, timeout=60),
        requests.post(
            url,
            files={"image": photo},
            data={"labels": json.dumps(labels), "template": json.dumps([template])},
            timeout=60,
        ),
        requests.post(url, files={"image": photo}, data={"labels": lines, "template": template}, timeout=60),
        requests.post(url, data=photo, headers=header, timeout=60),
        requests.post(f"{base}/lseg/predict", params={"labels": bars, "template": template}, data=photo, timeout=60),
        requests.post(url, json=document, timeout=60),
    ]
    assert [answer.status_code for answer in answers] == [200] * 6, [answer.text[:300] for answer in answers]
    assert len({answer.content for answer in answers}) == 1
    assert [entry["name"] for entry in json.loads(unquote(answers[0].headers["X-LSeg-Legend"]))] == [
        "cat",
        "grass",
        "other",
    ]
    words = [f"a photo of {word}" for word in ("cat", "grass", "lawn", "turf", "other")]
    plain = requests.post(url, files={"image": photo}, data={"labels": ",".join(words)}, timeout=60)
    merged = np.array([0, 1, 1, 1, 2], dtype=np.uint8)[read_mask(plain.content).indices]
    assert np.array_equal(read_mask(answers[0].content).indices, merged)
    with LSegClient(base) as client:
        assert client.segment(photo, labels, template=template).png == answers[0].content
        assert client.segment(photo, bars, template=[template]).png == answers[0].content
        vectors = client.embed_labels(["cat"], template)
        np.testing.assert_allclose(vectors, client.embed_labels(["a photo of cat"]), rtol=0, atol=1e-5)


def test_every_way_of_asking_gives_the_same_mask(
    server: LocalServer, url: str, photo: bytes, expected: np.ndarray
) -> None:
    base = server.addresses.inference_url
    jpeg = {"Content-Type": "image/jpeg"}
    comma = ",".join(LABELS)
    encoded = base64.b64encode(photo).decode()
    document = json.dumps({"image": encoded, "labels": LABELS, "mode": None}).encode()
    answers = {
        "multipart": requests.post(url, files={"image": photo}, data={"labels": comma}, timeout=60),
        "multipart, JSON list": requests.post(
            url, files={"image": photo}, data={"labels": json.dumps(LABELS)}, timeout=60
        ),
        "raw body, headers": requests.post(url, data=photo, headers={**jpeg, "X-LSeg-Labels": comma}, timeout=60),
        "raw body, headers in lower case": requests.post(
            url, data=photo, headers={**jpeg, "x-lseg-labels": comma}, timeout=60
        ),
        "query string": requests.post(f"{base}/lseg/predict?labels={comma}", data=photo, headers=jpeg, timeout=60),
        "query string, invoke": requests.put(f"{base}/models/lseg/invoke?labels={comma}", data=photo, timeout=60),
        "multipart, a field for each label": requests.post(
            url, files={"image": photo}, data={"labels": LABELS}, timeout=60
        ),
        "query string, a parameter for each label": requests.post(
            f"{base}/lseg/predict", params={"labels": LABELS}, data=photo, headers=jpeg, timeout=60
        ),
        "multipart, a label a line": requests.post(
            url, files={"image": photo}, data={"labels": "\r\n".join(LABELS)}, timeout=60
        ),
        "multipart, commas of another script": requests.post(
            url, files={"image": photo}, data={"labels": "\u3001".join(LABELS)}, timeout=60
        ),
        "multipart, invisible characters": requests.post(
            url, files={"image": photo}, data={"labels": f"\ufeff{comma}\u200b"}, timeout=60
        ),
        "multipart, data URI": requests.post(
            url, files={"image": (None, f"data:image/jpeg;base64,{encoded}"), "labels": (None, comma)}, timeout=60
        ),
        "form in a URL's encoding": requests.post(url, data={"image": encoded, "labels": LABELS}, timeout=60),
        "raw body, gzip": requests.post(
            url,
            data=gzip.compress(photo),
            headers={**jpeg, "Content-Encoding": "gzip", "X-LSeg-Labels": comma},
            timeout=60,
        ),
        "JSON, gzip": requests.post(
            url,
            data=gzip.compress(document),
            headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
            timeout=60,
        ),
        "JSON as text/plain": _post(url, document, "text/plain;charset=UTF-8"),
        "JSON without a type": _post(url, document, None),
        "JSON by another name": _post(url, document, "application/vnd.api+json"),
        "JSON with a byte order mark": _post(url, b"\xef\xbb\xbf" + document, "application/json"),
        "JSON in UTF-16": _post(url, document.decode().encode("utf-16"), "application/json; charset=utf-16"),
        "JSON": requests.post(url, json={"image": encoded, "labels": LABELS}, timeout=60),
        "JSON, data URI": requests.post(
            url, json={"image": f"data:image/jpeg;base64,{encoded}", "labels": comma}, timeout=60
        ),
    }
    for way, answer in answers.items():
        assert answer.status_code == 200, (way, answer.text)
        assert answer.headers["content-type"] == "image/png", way
        mask = read_mask(answer.content)
        assert Image.open(io.BytesIO(answer.content)).size == SIZE, way
        np.testing.assert_array_equal(mask.indices, expected, way)
        assert [entry.name for entry in mask.legend] == LABELS, way


def _post(url: str, body: bytes, content_type: str | None) -> requests.Response:
    """Send a body with a type, or with none."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    return requests.post(url, data=body, headers=headers, timeout=60)


def test_a_photo_of_any_kind_gives_the_same_mask(url: str, photo: bytes) -> None:
    with Image.open(io.BytesIO(photo)) as image:
        pixels = image.convert("RGB")
    heic = io.BytesIO()
    pillow_heif.from_pillow(pixels).save(heic, quality=-1, chroma=444, matrix_coefficients=0)
    kinds = [encoded(pixels, "PNG"), heic.getvalue(), encoded(pixels, "JPEG2000"), encoded(pixels, "TGA")]
    answers = [
        requests.post(
            url, data=kind, headers={"Content-Type": "image/any", "X-LSeg-Labels": ",".join(LABELS)}, timeout=60
        )
        for kind in kinds
    ]
    assert [answer.status_code for answer in answers] == [200] * len(kinds)
    assert len({read_mask(answer.content).indices.tobytes() for answer in answers}) == 1


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_as_in_the_readme(url: str, tmp_path: Path, expected: np.ndarray) -> None:
    command = ["curl", "-sS", "-F", f"image=@{PHOTO}", "-F", f"labels={','.join(LABELS)}", url]
    subprocess.run([*command, "-o", "mask.png"], cwd=tmp_path, check=True)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "mask.png")), expected)


def test_without_labels_the_exported_set_is_used(url: str, photo: bytes, segmenter: Segmenter) -> None:
    answer = requests.post(url, files={"image": photo}, timeout=60)
    mask = read_mask(answer.content)
    assert [entry.name for entry in mask.legend] == LABEL_SET
    np.testing.assert_array_equal(mask.indices, segmenter.segment(photo).mask)


def test_the_legend_header_is_ascii_and_decodes(url: str, photo: bytes) -> None:
    labels = ["猫", 'l\'herbe "verte"', "100 % autre", "🐈"]
    answer = requests.post(url, files={"image": photo}, data={"labels": json.dumps(labels)}, timeout=60)
    header = answer.headers["X-LSeg-Legend"]
    assert header.isascii()
    assert [entry["name"] for entry in json.loads(unquote(header))] == labels
    assert [entry.name for entry in read_mask(answer.content).legend] == labels


def test_labels_in_any_language_come_through_a_header(url: str, photo: bytes) -> None:
    headers: dict[str, str | bytes] = {"Content-Type": "image/jpeg", "X-LSeg-Labels": "猫,草".encode()}
    answer = requests.post(url, data=photo, headers=headers, timeout=60)
    assert [entry.name for entry in read_mask(answer.content).legend] == ["猫", "草"]


def test_the_client_gets_the_same(server: LocalServer, photo: bytes, expected: np.ndarray) -> None:
    with LSegClient(server.addresses.inference_url) as client:
        mask = client.segment(photo, LABELS)
    np.testing.assert_array_equal(mask.indices, expected)
    assert sum(mask.share(entry) for entry in mask.legend) == pytest.approx(1)


def _ask(url: str, photo: bytes, **fields: str) -> requests.Response:
    answer = requests.post(url, files={"image": photo}, data={"labels": ",".join(LABELS)} | fields, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer


def test_color_has_the_legends_colours(url: str, photo: bytes, expected: np.ndarray) -> None:
    answer = _ask(url, photo, format="color")
    legend = json.loads(unquote(answer.headers["X-LSeg-Legend"]))
    colours = np.array([list(bytes.fromhex(entry["color"][1:])) for entry in legend])
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), colours[expected])


def test_overlay_of_alpha_0_is_the_photo(url: str, photo: bytes) -> None:
    answer = _ask(url, photo, format="overlay", alpha="0")
    np.testing.assert_array_equal(Image.open(io.BytesIO(answer.content)), Image.open(io.BytesIO(photo)))


def test_json_describes_every_label(url: str, photo: bytes, expected: np.ndarray) -> None:
    answer = _ask(url, photo, format="json").json()
    assert (answer["width"], answer["height"]) == SIZE
    assert answer["model"] == {"name": "lseg", "version": "1.0"}
    assert [label["name"] for label in answer["labels"]] == LABELS
    assert [label["area"] for label in answer["labels"]] == np.bincount(expected.ravel(), minlength=3).tolist()
    assert sum(label["share"] for label in answer["labels"]) == pytest.approx(1)
    np.testing.assert_array_equal(read_mask(base64.b64decode(answer["mask"])).indices, expected)


def test_every_format_and_a_threshold_have_the_same_mask(url: str, photo: bytes) -> None:
    labels = json.dumps([f"label {number}" for number in range(40)])
    plain = read_mask(_ask(url, photo, labels=labels).content).indices
    answer = _ask(url, photo, labels=labels, format="json").json()
    np.testing.assert_array_equal(read_mask(base64.b64decode(answer["mask"])).indices, plain)
    assert [label["area"] for label in answer["labels"]] == np.bincount(plain.ravel(), minlength=40).tolist()
    low = read_mask(_ask(url, photo, labels=labels, threshold="1e-6").content).indices
    np.testing.assert_array_equal(low, plain)


def test_an_accept_header_chooses_the_format(url: str, photo: bytes) -> None:
    answer = requests.post(url, files={"image": photo}, headers={"Accept": "application/json"}, timeout=60)
    assert answer.json()["height"] == SIZE[1]


def assert_equal_but_for_rounding(found: np.ndarray, expected: np.ndarray) -> None:
    """`found` is float16. The worker may have encoded a word beside others than this process did.

    That rounds its score otherwise in the last bit of float32, and so now and then in the last one of float16.
    """
    assert found.dtype == np.float16
    np.testing.assert_allclose(found.astype(np.float32), expected, rtol=2**-10, atol=1e-5)


def test_npz_holds_the_scores(url: str, photo: bytes, segmenter: Segmenter) -> None:
    content = np.load(io.BytesIO(_ask(url, photo, format="npz").content), allow_pickle=False)
    scores = segmenter.segment(photo, LABELS).scores.numpy()
    assert content["labels"].tolist() == LABELS
    assert_equal_but_for_rounding(content["scores"], scores)


def test_zip_holds_mask_overlay_and_cutouts(url: str, photo: bytes, expected: np.ndarray) -> None:
    content = zipfile.ZipFile(io.BytesIO(_ask(url, photo, format="zip").content))
    np.testing.assert_array_equal(read_mask(content.read("mask.png")).indices, expected)
    cutouts = [name for name in content.namelist() if name.startswith("cutouts/")]
    assert len(cutouts) == len(np.unique(expected))
    for name in cutouts:
        index = int(name.removeprefix("cutouts/")[:3])
        cutout = np.asarray(Image.open(io.BytesIO(content.read(name))))
        assert np.count_nonzero(cutout[..., 3]) == np.count_nonzero(expected == index)


def test_a_threshold_leaves_pixels_unlabelled(url: str, photo: bytes) -> None:
    shares = [np.mean(np.asarray(read_mask(_ask(url, photo, threshold=t).content).indices) == 255) for t in "01"]
    assert shares[0] == 0
    assert shares[1] > 0.99


def test_accurate_mode_gives_its_own_mask_and_says_so(
    url: str, server: LocalServer, photo: bytes, segmenter: Segmenter, expected: np.ndarray
) -> None:
    result = segmenter.segment(photo, LABELS, mode="accurate")
    answer = _ask(url, photo, format="json", mode="accurate").json()
    assert answer["mode"] == "accurate"
    assert (answer["width"], answer["height"]) == SIZE
    mask = read_mask(base64.b64decode(answer["mask"])).indices
    np.testing.assert_array_equal(mask, result.mask)
    assert np.any(mask != expected), "accurate mode is not fast mode"
    with LSegClient(server.addresses.inference_url) as client:
        np.testing.assert_array_equal(client.segment(photo, LABELS, mode="accurate").indices, result.mask)
    content = np.load(io.BytesIO(_ask(url, photo, format="npz", mode="accurate").content), allow_pickle=False)
    assert_equal_but_for_rounding(content["scores"], result.scores.numpy())
    assert _ask(url, photo, format="json").json()["mode"] == "fast"


def test_the_model_describes_itself(server: LocalServer) -> None:
    answer = requests.get(f"{server.addresses.management_url}/models/lseg?customized=true", timeout=60).json()
    described = answer[0]["customizedMetadata"]
    assert described["architecture"]["width"] == 128
    assert described["label_set"]["labels"] == LABEL_SET
    assert described["limits"]["max_response_bytes"] == 3_000_000
    assert {"image", "labels", "points"} <= set(described["request"]["properties"])
    mode = described["request"]["properties"]["mode"]
    assert (mode["enum"], mode["default"]) == (["fast", "accurate"], "fast")
    assert described["accurate"]["crop_size"] == 96


def test_bands_and_range_make_a_picture_of_what_a_satellite_sends(url: str, photo: bytes, expected: np.ndarray) -> None:
    """The photo as bands 5, 4 and 3 of a TIFF in 12 bits that begin at 500 gives the photo's own mask."""
    picture = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB"))
    stored = np.dstack([np.zeros((*picture.shape[:2], 2)), picture[..., ::-1] * 10.0 - 500]).astype(np.int16)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, stored, photometric="minisblack", planarconfig="contig", extrasamples=["unspecified"] * 4)

    def ask(**options: str) -> requests.Response:
        fields = {"labels": ",".join(LABELS), **options}
        return requests.post(url, files={"image": buffer.getvalue()}, data=fields, timeout=60)

    answer = ask(bands="5,4,3", range="-500,2050")
    assert answer.status_code == 200, answer.text
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), expected)
    headers = {"X-LSeg-Labels": ",".join(LABELS), "X-LSeg-Bands": "5,4,3", "X-LSeg-Range": "-500,2050"}
    raw = requests.post(url, data=buffer.getvalue(), headers={**headers, "Content-Type": "image/tiff"}, timeout=60)
    assert raw.content == answer.content
    refused = ask(bands="5,4,3")
    assert (refused.status_code, refused.json()["error"]["type"]) == (415, "unsupported_image")
    assert "int16 values lie between -500 and " in refused.json()["error"]["message"]
    absent = ask(bands="6,4,3").json()["error"]
    assert (absent["code"], absent["type"], absent["field"]) == (400, "invalid_option", "bands")
