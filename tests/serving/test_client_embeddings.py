"""Both clients' embeddings at a real TorchServe: maps that are asked here, points, labels, and what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from lseg_serve.client import AsyncLSegClient, BadAnswer, BadInput, LSegClient, Refused
from lseg_serve.embeddings import Embeddings
from lseg_serve.segmenter import EmbedOptions, Segmenter
from lseg_serve.server import LocalServer
from tests.conftest import PROJECT
from tests.support.clients import KINDS, called
from tests.support.scripted import Scripted, serving

LABELS = ["cat", "grass, wet", "猫"]
PHOTO = PROJECT / "demo" / "photos" / "cat.jpg"
POINTS = [[0, 0], [225.5, 149.25], [450, 299]]


@pytest.fixture(scope="module")
def segmenter(archive: Path) -> Segmenter:
    """The archive in this process, without a server."""
    return Segmenter.load(archive)


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_gives_back_the_servers_masks(kind: str, server: LocalServer, segmenter: Segmenter) -> None:
    url = server.addresses.inference_url
    found = called(kind, "embed", url, PHOTO, LABELS, dtype="float32")
    assert isinstance(found, Embeddings)
    assert (found.height, found.width, found.labels) == (300, 451, tuple(LABELS))
    assert found.vectors.dtype == np.float32
    mask = called(kind, "segment", url, PHOTO, LABELS)
    assert np.mean(found.segment(LABELS) != mask.indices) < 1e-4
    half = called(kind, "embed", url, str(PHOTO), mode="accurate", scales=(1.0,), flip=False)
    options = EmbedOptions(mode="accurate", scales=(1.0,), flip=False)
    np.testing.assert_allclose(half.vectors, segmenter.embed(PHOTO, options=options).vectors, rtol=0, atol=2e-3)
    assert half.labels == ()


@pytest.mark.parametrize("kind", KINDS)
def test_points_and_labels_alone(kind: str, server: LocalServer, segmenter: Segmenter) -> None:
    url = server.addresses.inference_url
    found = called(kind, "embed_points", url, PHOTO, POINTS, dtype="float32")
    expected = segmenter.embed_points(PHOTO, POINTS, options=EmbedOptions(dtype="float32"))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    labels = called(kind, "embed_labels", url, LABELS)
    assert labels.dtype == np.float32
    np.testing.assert_allclose(labels, segmenter.embed_labels(LABELS), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(called(kind, "embed_labels", url, "cat, 猫"), labels[[0, 2]])


def test_new_words_on_a_stored_map_ask_for_their_text_alone(server: LocalServer, tmp_path: Path) -> None:
    with LSegClient(server.addresses.inference_url) as client:
        client.embed(PHOTO, ["cat"], dtype="float32").save(tmp_path / "cat.npz")
        stored = Embeddings.load(tmp_path / "cat.npz", encode=client.embed_labels)
        mask = client.segment(PHOTO, LABELS)
        assert np.mean(stored.segment(LABELS) != mask.indices) < 1e-4


def test_only_the_text_is_sent_for_new_words() -> None:
    vectors = np.ones((2, 1, 1), dtype=np.float32)
    whole = Embeddings(vectors, 4, 4).packed()
    text = Embeddings(vectors, 4, 4, labels=("b",), label_embeddings=np.array([[0, 1]], dtype=np.float32)).packed()
    with serving(Scripted(200, whole), Scripted(200, text)) as script, LSegClient(script.url) as client:
        assert client.embed(b"the image", []).segment(["b"]).tolist() == [[0] * 4] * 4
    first, second = script.asked
    assert b"the image" in first.body
    assert b'name="image"' not in second.body
    assert b'["b"]' in second.body
    assert len(second.body) < 600


def test_asyncio_encodes_new_words_from_a_thread(server: LocalServer) -> None:
    async def call() -> None:
        async with AsyncLSegClient(server.addresses.inference_url) as client:
            found = await client.embed(PHOTO, dtype="float32")
            mask = await client.segment(PHOTO, LABELS)
            assert np.mean(await asyncio.to_thread(found.segment, LABELS) != mask.indices) < 1e-4
            assert np.mean(found.segment(await client.embed_labels(LABELS)) != mask.indices) < 1e-4
            with pytest.raises(BadInput, match=r"await asyncio.to_thread\(found.segment, labels\)"):
                found.segment(["a new word"])

    asyncio.run(call())


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_asked_is_refused(kind: str, server: LocalServer, photo: bytes) -> None:
    url = server.addresses.inference_url
    with pytest.raises(BadInput, match=r"point 1 is \[1, 2, 3\]; accepted: \[x, y\]"):
        called(kind, "embed_points", url, photo, [[1, 2, 3]])
    with pytest.raises(BadInput, match="labels is \\[\\]; accepted: a list of 1 or more texts"):
        called(kind, "embed_labels", url, [])
    with pytest.raises(Refused, match=r"point 1 is \[451, 0\]; accepted: x from -0.5 to 450.5") as refused:
        called(kind, "embed_points", url, photo, [[451, 0]])
    assert (refused.value.status, refused.value.field) == (400, "points")
    with pytest.raises(Refused, match="preset is 'clip'; accepted: openscene, vlmaps"):
        called(kind, "embed", url, photo, preset="clip")


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_holds_none_is_a_bad_answer(kind: str) -> None:
    for body in (b"no file", Embeddings(np.ones((2, 1, 1), dtype=np.float32), 4, 4).packed()[:-30]):
        with serving(Scripted(200, body)) as script, pytest.raises(BadAnswer, match="no map of embeddings"):
            called(kind, "embed", script.url, b"image")
    whole = Embeddings(np.ones((2, 1, 1), dtype=np.float32), 4, 4).packed()
    with serving(Scripted(200, whole)) as script:
        with pytest.raises(BadAnswer, match="no embeddings of 1 rows"):
            called(kind, "embed_points", script.url, b"image", [[0, 0]])
        with pytest.raises(BadAnswer, match="no label_embeddings of 1 rows, but none"):
            called(kind, "embed_labels", script.url, ["cat"])
