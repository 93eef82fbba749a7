"""Every format, decoded by its own readers, says what the mask says; the headers beside it are plain ASCII."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco

from lseg_serve.handler.formats import FORMAT_BY_NAME, FORMAT_OF_MEDIA_TYPE, FORMATS, GEOMETRIES
from lseg_serve.handler.formats.colors import hex_color, palette
from lseg_serve.handler.request_model import Request
from lseg_serve.handler.responses import Response, ServerInfo, error_response, make_response
from lseg_serve.segmenter import (
    UNLABELLED,
    Bucket,
    InvalidOptionError,
    OutOfMemoryError,
    ResponseTooLargeError,
    Segmentation,
    SegmenterError,
)
from tests.support.pictures import Pixels, noise

LABELS = ("sky", "日本の猫", 'a "quoted", 100 % <b>&\\', "👩‍👩‍👧", "absent", "../../etc/passwd")
AWKWARD = ("日本", "👩‍👩‍👧", '"', "'", "%", "%41", "\u2028", "a\tb\r\nc", "é", "\x7f", "\x00", ",]", "\\u0041", "+ +")
HEIGHT, WIDTH = 23, 37
SERVER = ServerInfo("lseg", "1.0", "cpu", 10_000_000)


def _mask() -> Pixels:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[4:9, 5:20] = 1
    mask[10:20, 8:30] = 2
    mask[14, 14] = 3
    mask[20:, 30:] = 5
    mask[0, :6] = UNLABELLED
    return mask


def _result(mask: Pixels | None = None, labels: tuple[str, ...] = LABELS) -> Segmentation:
    scores = torch.randn(len(labels), 16, 32, generator=torch.Generator().manual_seed(0))
    means = np.linspace(0.3, 0.8, len(labels))
    seconds = {"decode": 0.001, "text": 0.0, "network": 0.25, "mask": 0.0123}
    return Segmentation(labels, _mask() if mask is None else mask, Bucket(32, 64), scores, means, seconds=seconds)


IMAGE = noise(HEIGHT, WIDTH)


def _respond(name: str, result: Segmentation | None = None, **options: Any) -> Response:
    return make_response(
        Request.model_validate({"image": b"", "format": name, **options}), IMAGE, result or _result(), SERVER
    )


def _pixels(content: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(content)))


def _json(**options: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_respond("json", **options).body)
    return document


def test_the_names_that_a_request_may_give() -> None:
    assert FORMATS == ("png", "color", "overlay", "json", "npz", "zip", "hf", "coco", "embeddings")
    assert GEOMETRIES == ("rle", "polygons", "label_studio")


def test_a_media_type_selects_a_format() -> None:
    """Several formats share a type: who accepts image/png, any image or anything gets the mask of indices."""
    assert FORMAT_OF_MEDIA_TYPE == {
        "image/png": "png",
        "image/*": "png",
        "*/*": "png",
        "application/json": "json",
        "application/x-npz": "npz",
        "application/zip": "zip",
        "application/x-safetensors": "embeddings",
    }


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("png", "image/png"),
        ("color", "image/png"),
        ("overlay", "image/png"),
        ("json", "application/json"),
        ("npz", "application/x-npz"),
        ("zip", "application/zip"),
        ("hf", "application/json"),
        ("coco", "application/json"),
    ],
)
def test_every_format_names_its_type(name: str, content_type: str) -> None:
    response = _respond(name)
    assert (response.status, response.content_type) == (200, content_type)
    assert isinstance(response.body, bytes)


def test_png_holds_the_indices() -> None:
    response = _respond("png")
    np.testing.assert_array_equal(_pixels(response.body), _mask())
    image = Image.open(io.BytesIO(response.body))
    image.load()
    assert [entry["name"] for entry in json.loads(image.info["legend"])] == list(LABELS)


def test_color_holds_the_colours() -> None:
    np.testing.assert_array_equal(_pixels(_respond("color").body), palette()[_mask()])


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_overlay_holds_the_mix(alpha: float) -> None:
    pixels = _pixels(_respond("overlay", alpha=alpha).body)
    mask = _mask()
    expected = (1 - alpha) * IMAGE + alpha * palette()[mask]
    expected[mask == UNLABELLED] = IMAGE[mask == UNLABELLED]
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(pixels - expected).max() <= 1


def test_npz_holds_the_scores_and_loads_without_pickle() -> None:
    result = _result()
    with np.load(io.BytesIO(_respond("npz", result).body), allow_pickle=False) as arrays:
        assert arrays["scores"].dtype == np.float16
        np.testing.assert_array_equal(arrays["scores"], result.scores.half().numpy())
        assert arrays["labels"].tolist() == list(LABELS)
        assert arrays["image_size"].tolist() == [HEIGHT, WIDTH]


def test_json_describes_the_image() -> None:
    document = _json(mode="fast")
    assert (document["width"], document["height"]) == (WIDTH, HEIGHT)
    assert (document["mode"], document["device"]) == ("fast", "cpu")
    assert document["model"] == {"name": "lseg", "version": "1.0"}
    assert document["timings_ms"] == {"decode": 1.0, "text": 0.0, "network": 250.0, "mask": 12.3}
    assert document["unlabelled"] == {"area": 6, "share": 6 / (HEIGHT * WIDTH)}
    np.testing.assert_array_equal(_pixels(base64.b64decode(document["mask"])), _mask())


def test_json_describes_every_label() -> None:
    mask = _mask()
    entries = _json()["labels"]
    assert [entry["name"] for entry in entries] == list(LABELS)
    for index, entry in enumerate(entries):
        area = int((mask == index).sum())
        assert (entry["index"], entry["color"], entry["area"]) == (index, hex_color(index), area)
        assert entry["share"] == area / mask.size
        assert entry["mean_score"] == pytest.approx(0.3 + 0.1 * index, abs=1e-6)
    assert entries[1]["box"] == [5, 4, 15, 5]
    assert entries[3]["box"] == [14, 14, 1, 1]
    assert (entries[4]["area"], entries[4]["box"], entries[4]["rle"]) == (0, None, None)


def test_the_shares_of_all_labels_and_of_none_are_the_whole_image() -> None:
    document = _json()
    shares = [entry["share"] for entry in document["labels"]] + [document["unlabelled"]["share"]]
    assert sum(shares) == pytest.approx(1)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' decoder
def test_json_outlines_are_coco_run_lengths() -> None:
    for index, entry in enumerate(_json()["labels"]):
        if entry["area"]:
            decoded = coco.decode({"size": entry["rle"]["size"], "counts": entry["rle"]["counts"].encode()})
            np.testing.assert_array_equal(decoded, _mask() == index)


@pytest.mark.parametrize("geometry", ["rle", "polygons", "label_studio"])
def test_json_has_the_geometry_that_was_asked_for_and_no_other(geometry: str) -> None:
    for entry in _json(geometry=geometry)["labels"]:
        assert {"rle", "polygons", "label_studio"} & set(entry) == {geometry}
        assert (entry[geometry] is None) == (entry["area"] == 0)


def test_json_polygons_go_round_the_region() -> None:
    assert _json(geometry="polygons")["labels"][1]["polygons"] == [[[[5, 4], [20, 4], [20, 9], [5, 9], [5, 4]]]]
    ((shell, hole),) = _json(geometry="polygons")["labels"][2]["polygons"]
    assert len(shell) == 5
    assert sorted(hole[1:]) == [[14, 14], [14, 15], [15, 14], [15, 15]]


def test_a_tolerance_is_heeded() -> None:
    rows, columns = np.indices((200, 200))
    mask = (rows > columns).astype(np.uint8)
    request = {"image": b"", "format": "json", "geometry": "polygons"}

    def corners(**options: float) -> int:
        response = make_response(Request.model_validate({**request, **options}), noise(200, 200), _result(mask), SERVER)
        return len(json.loads(response.body)["labels"][1]["polygons"][0][0])

    assert corners(tolerance=0) == 2 * 199 + 3  # the steps, the corner below, and the first once more
    assert corners() == corners(tolerance=50) == 4  # a triangle, closed


def test_json_is_standard_json_in_utf8() -> None:
    body = _respond("json").body
    assert "日本の猫" in body.decode("utf-8")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    json.loads(body, parse_constant=refuse)


def _archive(result: Segmentation | None = None) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(_respond("zip", result).body))


def test_zip_holds_the_mask_the_legend_the_overlay_and_a_cutout_of_each_present_label() -> None:
    with _archive() as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names[:3] == ["mask.png", "legend.json", "overlay.png"]
        assert [re.match(r"cutouts/(\d{3})_", name)[1] for name in names[3:]] == [  # type: ignore[index]
            "000", "001", "002", "003", "005",
        ]  # fmt: skip
        np.testing.assert_array_equal(_pixels(archive.read("mask.png")), _mask())
        np.testing.assert_array_equal(_pixels(archive.read("overlay.png")), _pixels(_respond("overlay").body))
        listed = json.loads(archive.read("legend.json"))
        assert [(entry["index"], entry["name"], entry["color"]) for entry in listed] == [
            (index, name, hex_color(index)) for index, name in enumerate(LABELS)
        ]


def test_a_cutout_is_the_labels_part_of_the_image_and_transparent_elsewhere() -> None:
    mask = _mask()
    with _archive() as archive:
        for name in archive.namelist()[3:]:
            index = int(name[8:11])
            rows, columns = np.nonzero(mask == index)
            window = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            cutout = _pixels(archive.read(name))
            np.testing.assert_array_equal(cutout[..., :3], IMAGE[window])
            np.testing.assert_array_equal(cutout[..., 3], np.where(mask[window] == index, 255, 0))


def test_overlays_and_cutouts_of_several_bands_have_the_pixels_of_the_plain_definition() -> None:
    """The overlay as Pillow blends it and the cut-outs as NumPy stacks them, each as a whole."""
    height, width = 700, 901
    image, mask = noise(height, width, 1), np.zeros((height, width), np.uint8)
    mask[100:600, 30:800], mask[300:350], mask[650:, 5:] = 1, UNLABELLED, 2
    result = _result(mask)
    request = {"image": b"", "alpha": 0.37}
    overlay = make_response(Request.model_validate({**request, "format": "overlay"}), image, result, SERVER)
    blended = Image.blend(Image.fromarray(image), Image.fromarray(palette()[mask]), 0.37)
    expected = np.where((mask == UNLABELLED)[..., None], image, np.asarray(blended))
    np.testing.assert_array_equal(_pixels(overlay.body), expected)
    archive = make_response(Request.model_validate({**request, "format": "zip"}), image, result, SERVER)
    with zipfile.ZipFile(io.BytesIO(archive.body)) as files:
        np.testing.assert_array_equal(_pixels(files.read("overlay.png")), expected)
        for name, index in zip(files.namelist()[3:], (0, 1, 2), strict=True):
            rows, columns = np.nonzero(mask == index)
            window = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            stacked = np.dstack([image[window], np.where(mask[window] == index, 255, 0).astype(np.uint8)])
            np.testing.assert_array_equal(_pixels(files.read(name)), stacked)


def test_file_names_in_the_zip_are_safe_on_every_system() -> None:
    labels = (*LABELS, "CON", "x" * 200, "a/b\\c:d", "..")
    mask = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8) % len(labels)
    with _archive(_result(mask, labels)) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names)) == 3 + len(labels)
    for name in names[3:]:
        folder, _, file = name.partition("/")
        assert folder == "cutouts"
        assert not set(file) & set('/\\:*?"<>|\x00')
        assert not file.startswith(".")
        assert len(file) <= 80


def test_the_same_mask_gives_the_same_bytes() -> None:
    for name in FORMAT_BY_NAME:
        assert _respond(name).body == _respond(name).body
    with _archive() as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_headers_name_the_device_and_the_time_of_each_stage() -> None:
    headers = _respond("png").headers
    assert headers["X-LSeg-Device"] == "cpu"
    assert headers["Server-Timing"] == "decode;dur=1.0, text;dur=0.0, network;dur=250.0, mask;dur=12.3"


def _assert_plain(value: str) -> None:
    """Printable ASCII: anything else wedges or kills a TorchServe worker."""
    assert all(0x20 <= ord(character) <= 0x7E for character in value)
    assert value == value.strip()


@pytest.mark.parametrize("name", FORMAT_BY_NAME)
def test_the_legend_header_is_plain_ascii_and_decodes_to_the_legend(name: str) -> None:
    headers = _respond(name, _result(labels=AWKWARD[: len(LABELS)])).headers
    for key, value in headers.items():
        _assert_plain(key)
        _assert_plain(value)
    assert [entry["name"] for entry in json.loads(unquote(headers["X-LSeg-Legend"]))] == list(AWKWARD[: len(LABELS)])


def test_awkward_labels_come_back_from_the_legend_header() -> None:
    headers = _respond("color", _result(labels=AWKWARD)).headers
    _assert_plain(headers["X-LSeg-Legend"])
    assert "X-LSeg-Legend-Truncated" not in headers
    assert json.loads(unquote(headers["X-LSeg-Legend"])) == [
        {"index": index, "name": name, "color": hex_color(index)} for index, name in enumerate(AWKWARD)
    ]


@pytest.mark.parametrize("letter", ["x", "語", "👩"])
def test_a_legend_too_long_for_a_header_is_cut_at_an_entry_and_says_so(letter: str) -> None:
    labels = tuple(f"{number} {letter * 150}" for number in range(255))
    headers = _respond("color", _result(labels=labels)).headers
    assert headers["X-LSeg-Legend-Truncated"] == "true"
    _assert_plain(headers["X-LSeg-Legend"])
    assert sum(len(key) + len(value) + 4 for key, value in headers.items()) < 8_000
    names = [entry["name"] for entry in json.loads(unquote(headers["X-LSeg-Legend"]))]
    assert 1 <= len(names) < 255
    assert names == list(labels[: len(names)])


def test_one_label_of_any_allowed_length_fits_the_header_or_is_left_out() -> None:
    for label in ("x" * 200, "語" * 200, "👩" * 200, "%" * 200):
        headers = _respond("color", _result(labels=(label,))).headers
        names = [entry["name"] for entry in json.loads(unquote(headers["X-LSeg-Legend"]))]
        assert names == [label]


@pytest.mark.parametrize("name", FORMAT_BY_NAME)
def test_a_response_that_torchserve_would_not_pass_on_is_refused(name: str) -> None:
    size = len(_respond(name).body)
    room = 64_000  # for headers and framing
    fits = ServerInfo("lseg", "1.0", "cpu", size + room)
    request = Request.model_validate({"image": b"", "format": name})
    assert len(make_response(request, IMAGE, _result(), fits).body) == size
    with pytest.raises(ResponseTooLargeError, match=f"{size} bytes as {name}; accepted: up to {size - 1} ") as caught:
        make_response(request, IMAGE, _result(), ServerInfo("lseg", "1.0", "cpu", size + room - 1))
    assert (caught.value.status, caught.value.type, caught.value.field) == (413, "response_too_large", "format")


@pytest.mark.parametrize("geometry", ["rle", "polygons", "label_studio"])
def test_outlines_that_could_never_be_sent_are_refused(geometry: str) -> None:
    mask = (np.indices((400, 400)).sum(axis=0) % 2).astype(np.uint8)  # 159,600 changes along rows
    request = Request.model_validate({"image": b"", "format": "json", "geometry": geometry})
    with pytest.raises(ResponseTooLargeError, match=r"159600 times along its rows.*use format png"):
        make_response(request, noise(400, 400), _result(mask), ServerInfo("lseg", "1.0", "cpu", 200_000))


def test_cutouts_of_too_many_pixels_are_refused() -> None:
    """Each of 255 labels has a pixel in two opposite corners, so that the box of each is all of the image but a rim."""
    corner = np.arange(256, dtype=np.uint8).reshape(16, 16)
    mask = np.full((1_000, 1_000), UNLABELLED, np.uint8)
    mask[:16, :16], mask[-16:, -16:] = corner, corner
    result = _result(mask, tuple(f"label {index}" for index in range(255)))
    pixels = 255 * (1_000 - 15) ** 2
    with pytest.raises(ResponseTooLargeError, match=f"255 labels have {pixels} pixels; accepted: up to 200000000$"):
        make_response(Request.model_validate({"image": b"", "format": "zip"}), noise(1_000, 1_000), result, SERVER)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            InvalidOptionError("alpha is '猫\ud800\n'", "alpha"),
            {"code": 400, "type": "invalid_option", "message": "alpha is '猫\ud800\n'", "field": "alpha"},
        ),
        (OutOfMemoryError("full"), {"code": 507, "type": "out_of_memory", "message": "full", "field": None}),
        (SegmenterError("oops"), {"code": 500, "type": "internal_error", "message": "oops", "field": None}),
    ],
)
def test_an_error_describes_itself(error: SegmenterError, expected: dict[str, object]) -> None:
    response = error_response(error)
    assert (response.status, response.content_type) == (expected["code"], "application/json")
    assert type(response.status) is int
    assert json.loads(response.body) == {"error": expected}
    _assert_plain(response.headers["X-LSeg-Error"])
    assert response.headers["X-LSeg-Error"].encode() == response.body


def test_an_error_too_long_for_a_header_has_none() -> None:
    response = error_response(SegmenterError("ä" * 1000))
    assert response.headers == {}
    assert json.loads(response.body)["error"]["message"] == "ä" * 1000


def test_an_error_in_a_header_is_one_line_of_ascii() -> None:
    _assert_plain(error_response(SegmenterError("a\r\nSet-Cookie: b\x7f\u2028ä\udcff")).headers["X-LSeg-Error"])


def test_timings_are_told_unless_the_configuration_hides_them() -> None:
    """Neither the header nor the JSON then says whether an image or a label was in a cache."""
    for hidden in (False, True):
        server = replace(SERVER, timings=not hidden)
        request = Request.model_validate({"image": b"", "format": "json"})
        response = make_response(request, IMAGE, _result(), server)
        assert ("Server-Timing" in response.headers, "timings_ms" in json.loads(response.body)) == (not hidden,) * 2
        assert "X-LSeg-Device" in response.headers
