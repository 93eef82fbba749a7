"""What is sent for each kind of image, and what is refused before anything is sent; and answers that are none."""

from __future__ import annotations

import email.message
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from lseg_serve.client import BadAnswer, BadInput, TimedOut
from tests.support.clients import KINDS, called
from tests.support.scripted import Scripted, serving

NOISE = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
NO_ANSWER = Scripted(400)


def _sent(image: object, labels: object = None, **options: Any) -> dict[str, bytes]:
    """The fields of the form that a client sends, read by Python's own parser."""
    with serving(NO_ANSWER) as server, pytest.raises(Exception, match="400"):
        called("threads", "segment", server.url, image, labels, **options)
    (asked,) = server.asked
    head = f"Content-Type: {asked.headers['content-type']}\r\n\r\n".encode()
    parts = email.message_from_bytes(head + asked.body).get_payload()
    assert isinstance(parts, list)
    fields = {}
    for part in parts:
        assert isinstance(part, email.message.Message)
        name, content = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        assert isinstance(name, str)
        assert isinstance(content, bytes)
        fields[name] = content
    return fields


def _opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


@pytest.mark.parametrize(
    "pixels",
    [
        NOISE[:, :, 0],
        NOISE[:, :, :1],
        NOISE[:, :, :3],
        NOISE,
        NOISE[::2, ::-1, 2::-1],
        np.asfortranarray(NOISE[:, :, :3]),
        NOISE[:, :, 0].astype(np.uint16) * 257,
        NOISE[:, :, :1].astype(np.uint16) * 256,
    ],
    ids=["grey", "one band", "rgb", "rgba", "turned", "by columns", "16 bits", "16 bits, one band"],
)
def test_an_array_is_sent_without_loss(pixels: npt.NDArray[Any]) -> None:
    sent = np.asarray(_opened(_sent(pixels)["image"]))
    np.testing.assert_array_equal(sent, pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK", "I", "F"])
def test_a_picture_is_sent_in_its_own_mode(mode: str) -> None:
    if mode in ("I;16", "I", "F"):
        dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        picture = Image.fromarray(NOISE[:, :, 0].astype(dtype) * (257 if mode == "I;16" else 1))
    else:
        picture = Image.fromarray(NOISE).convert("RGB").convert(mode) if mode != "RGBA" else Image.fromarray(NOISE)
    assert picture.mode == mode
    sent = _opened(_sent(picture)["image"])
    assert sent.mode == mode
    assert sent.tobytes() == picture.tobytes()


def test_a_picture_keeps_its_profile_and_its_own_shape() -> None:
    """The mask belongs to the pixels at hand: EXIF's orientation, which Pillow does not apply itself, is left out."""
    picture = Image.fromarray(NOISE[:, :, :3])
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", icc_profile=profile, exif=exif)
    sent = _opened(_sent(_opened(buffer.getvalue()))["image"])
    assert sent.info["icc_profile"] == profile
    assert 0x0112 not in sent.getexif()
    assert sent.size == (7, 5)


def test_a_file_is_sent_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"any bytes")
    assert [_sent(image)["image"] for image in (path, str(path), b"any bytes")] == [b"any bytes"] * 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("/nowhere/a.png", "image '/nowhere/a.png' cannot be read: .*No such file"),
        ("a\0b", "cannot be read"),
        (3, "image is of type int; accepted: a path, a URL, the bytes of an image file, a Pillow image, or a NumPy"),
        (None, "image is of type NoneType"),
        (NOISE.astype(np.float32), r"array of float32 \[5, 7, 4\]; accepted: uint8 \[H, W\]"),
        (NOISE[:, :, :2], r"array of uint8 \[5, 7, 2\]"),
        (NOISE[None], r"array of uint8 \[1, 5, 7, 4\]"),
        (NOISE[:0], r"array of uint8 \[0, 7, 4\]"),
        (NOISE[:, :, :3].astype(np.uint16), r"array of uint16 \[5, 7, 3\]"),
        (Image.new("LAB", (3, 2)), "Pillow's mode LAB; accepted: 1, L"),
        ("http://[::1", "cannot be fetched"),
        ("http://", "cannot be fetched"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_image_is_refused_before_anything_is_sent(image: object, message: str, kind: str) -> None:
    with serving(NO_ANSWER) as server, pytest.raises(BadInput, match=message):
        called(kind, "segment", server.url, image)
    assert not server.asked


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("replies", "client", "message"),
    [
        ([Scripted(404)], {}, "cannot be fetched: .* answers 404"),
        ([Scripted(200, bytes(101))], {}, r"more than 100 bytes, which is the limit \(max_image_bytes\)"),
        ([Scripted(200, bytes(60), missing=10)], {}, "cannot be fetched: no answer from"),
        ([Scripted(200, bytes(60), seconds=1)], {"timeout": 0.2}, r"cannot be fetched: no whole answer .* 0\.2 s"),
        ([Scripted(302, headers={"Location": "/again"})], {}, "cannot be fetched: .*redirect"),
        ([Scripted(302, headers={"Location": "file:///etc/passwd"})], {}, "cannot be fetched"),
    ],
    ids=["404", "too large", "cut", "slow", "in circles", "a file"],
)
def test_an_image_that_cannot_be_fetched(
    replies: list[Scripted], client: dict[str, Any], message: str, kind: str
) -> None:
    with serving(NO_ANSWER) as server, serving(*replies) as images, pytest.raises(BadInput, match=message):
        called(kind, "segment", server.url, f"{images.url}/a.png", client={"max_image_bytes": 100, **client})
    assert not server.asked
    assert len(images.asked) <= 6


def test_a_fetched_image_may_be_as_large_as_the_limit() -> None:
    with serving(Scripted(200, bytes(100))) as images:
        assert _sent(f"{images.url}/a.png", client={"max_image_bytes": 100})["image"] == bytes(100)


def test_what_was_not_given_is_not_sent() -> None:
    assert set(_sent(b"image")) == {"image", "format"}
    assert set(_sent(b"image", mode=None, threshold=None)) == {"image", "format"}


def test_options_are_sent_as_the_server_reads_them() -> None:
    given = {
        "mode": "accurate",
        "threshold": 0.5,
        "alpha": 0,
        "geometry": "rle",
        "tolerance": 1.5,
        "parts": "apart",
        "bands": (4, 3, 2),
        "range": [0, 4095],
    }
    fields = _sent(b"image", ("a, b", "猫"), format="json", **given)
    assert json.loads(fields.pop("labels")) == ["a, b", "猫"]
    del fields["image"]
    assert {name: value.decode() for name, value in fields.items()} == {
        "format": "json",
        "mode": "accurate",
        "threshold": "0.5",
        "alpha": "0",
        "geometry": "rle",
        "tolerance": "1.5",
        "parts": "apart",
        "bands": "4,3,2",
        "range": "0,4095",
    }
    assert _sent(b"image", "sky,lawn")["labels"] == b"sky,lawn"


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (["cat", object()], {}, "labels cannot be sent"),
        (3, {}, "labels cannot be sent: .*; accepted: a list of texts and lists of texts, or text"),
        ("\ud800", {}, "holds text that UTF-8 cannot hold"),
        (None, {"format": "gif"}, "format is 'gif'; accepted: png, color, overlay, json, npz, zip"),
    ],
)
def test_what_cannot_be_sent_is_refused(labels: object, options: dict[str, Any], message: str) -> None:
    with serving(NO_ANSWER) as server, pytest.raises(BadInput, match=message):
        called("threads", "segment", server.url, b"image", labels, **options)
    assert not server.asked


def _npz(**arrays: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _zip(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


SCORES = np.zeros((2, 3, 4), dtype=np.float16)
NAMES = np.array(["a", "b"])
SIZE = np.array([6, 8])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("format", "body", "message"),
    [
        ("color", b"<html>", "no PNG"),
        ("json", b"<html>", "no report in JSON"),
        ("json", b"{}", "no report in JSON: width: Field required"),
        ("json", b"[" * 100_000, "no report in JSON"),
        ("npz", b"<html>", "no scores"),
        ("npz", b"", "no scores"),
        ("npz", _npz(scores=SCORES, labels=NAMES), "no scores"),
        ("npz", _npz(scores=SCORES, labels=NAMES, image_size=SIZE)[:-30], "no scores"),
        ("npz", _npz(scores=SCORES, labels=NAMES[:1], image_size=SIZE), r"scores of float16 \[2, 3, 4\]"),
        ("npz", _npz(scores=SCORES, labels=NAMES.astype(object), image_size=SIZE), "no scores"),
        ("npz", _npz(scores=SCORES, labels=NAMES, image_size=SIZE[:1]), "no scores"),
        ("zip", b"<html>", "no archive with a mask"),
        ("zip", _zip(**{"overlay.png": b""}), "no archive with a mask"),
        ("zip", _zip(**{"overlay.png": b"", "mask.png": b"x"}), "no PNG"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_answer_that_is_none(format: str, body: bytes, message: str, kind: str) -> None:  # noqa: A002
    with serving(Scripted(200, body)) as server, pytest.raises(BadAnswer, match=message):
        called(kind, "segment", server.url, b"image", format=format)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "answers no JSON"),
        (b"{}", "answers no list of models"),
        (b"[]", "answers no list of models"),
        (b'[{"workers": [{"status": "READY"}]}]', r"workers of lseg are not understood: id: Field required"),
        (b'[{"workers": 3}]', "workers of lseg are not understood"),
    ],
)
def test_a_management_port_that_is_none(body: bytes, message: str) -> None:
    with serving(Scripted(200, body)) as server, pytest.raises(BadAnswer, match=message):
        called("threads", "workers", "http://127.0.0.1:1", client={"management_url": server.url})


def test_the_management_port_is_never_guessed_beside_another_port() -> None:
    """The server on 8081 may be another one, and would be scaled."""
    with pytest.raises(BadInput, match=r"management port of http://\S+:9080 is not known; accepted: management"):
        called("threads", "scale", "http://127.0.0.1:9080", 1)


@pytest.mark.parametrize("workers", [-1, True, 1.5, "2"])
def test_a_number_of_workers_that_is_none(workers: object) -> None:
    with serving(NO_ANSWER) as server, pytest.raises(BadInput, match=r"workers is .*; accepted: a whole number"):
        called("threads", "scale", server.url, workers, client={"management_url": server.url})
    assert not server.asked


@pytest.mark.parametrize("kind", KINDS)
def test_scaling_that_does_not_end_is_a_time_out(kind: str) -> None:
    workers = Scripted(200, b'[{"workers": [{"id": "9000", "status": "UNLOADING", "pid": 3}]}]')
    with serving(Scripted(202), workers) as server, pytest.raises(TimedOut, match="but 1, of which 0 are ready"):
        called(kind, "scale", server.url, 1, seconds=0.3, client={"management_url": server.url})
    assert server.asked[0].method == "PUT"
    assert server.asked[0].path == "/models/lseg?min_worker=1&max_worker=1&synchronous=false"
