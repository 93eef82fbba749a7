"""Embeddings of full-size networks: the plain definition and both presets, on random checkpoints of published sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lseg_serve.segmenter import Config, EmbedOptions, Segmenter, choose_bucket, resize_to_bucket
from tests.support import plain_embeddings as plain
from tests.support.pictures import gradient, noise

HEIGHT, WIDTH = 120, 160


@pytest.fixture(scope="module")
def segmenter(full_size_checkpoint: Callable[..., Path]) -> Segmenter:
    return Segmenter.load(full_size_checkpoint("clip_vitl16_384"), Config(device="cpu"))


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return noise(HEIGHT, WIDTH) // 2 + gradient(HEIGHT, WIDTH) // 2


@torch.no_grad()
def test_the_map_and_float16(segmenter: Segmenter, picture: np.ndarray) -> None:
    bucket = choose_bucket(segmenter.shapes.buckets, HEIGHT, WIDTH)
    pixels = resize_to_bucket(picture, bucket)[None]
    expected = F.normalize(plain.fast(segmenter.net.pixel_embeddings, pixels, HEIGHT, WIDTH), dim=0).numpy()
    exact = segmenter.embed(picture, options=EmbedOptions(dtype="float32"))
    assert np.abs(exact.map() - expected).max() < 1e-5
    half = segmenter.embed(picture)
    assert half.vectors.shape == (512, bucket.height // 4, bucket.width // 4)
    difference = np.abs(half.map() - expected)
    print(f"float16: largest difference {difference.max():.1e} of an element, {half.vectors.nbytes / 1e6:.1f} MB")
    assert difference.max() < 2e-4


@torch.no_grad()
def test_openscene(segmenter: Segmenter, picture: np.ndarray) -> None:
    expected = plain.openscene(segmenter.net.pixel_embeddings, picture).numpy()
    found = segmenter.embed(picture, options=EmbedOptions(preset="openscene", dtype="float32"))
    difference = np.abs(found.vectors - expected).max()
    print(f"openscene: {difference:.1e}")
    assert difference < 1e-5


@torch.no_grad()
def test_vlmaps(segmenter: Segmenter, picture: np.ndarray) -> None:
    expected = plain.vlmaps(segmenter.net.pixel_embeddings, picture).numpy()
    found = segmenter.embed(picture, options=EmbedOptions(preset="vlmaps", dtype="float32"))
    difference = np.abs(found.vectors - expected).max()
    print(f"vlmaps: {difference:.1e} of vectors of length 1 / 0.07, {difference * 0.07:.1e} of unit vectors")
    assert difference * 0.07 < 1e-3
