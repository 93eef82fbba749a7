"""The network on its device, in three steps: image, score and text.

Each step gets tensors of the planned shapes only, since a new shape can cost the device a compilation.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from lseg_serve.model import LSeg
from lseg_serve.model.lseg import finish_scores
from lseg_serve.model.text_encoder import tokenize
from lseg_serve.segmenter.devices import Device
from lseg_serve.segmenter.engine.shapes import Graph, ScoreGraph, Shapes, TextGraph
from lseg_serve.segmenter.engine.usage import Usage
from lseg_serve.segmenter.preprocessing.buckets import BLACK, Bucket


class Network:
    """Takes and returns tensors of the host.

    One thread at a time uses the device: in lazy mode the whole process has only one pending graph.
    """

    def __init__(self, net: LSeg, device: Device, shapes: Shapes) -> None:
        # The regularizer runs on the host: it is only a few 3x3 convolutions of one channel.
        self._regularizer = copy.deepcopy(net.regularizer)
        attend = device.attention()
        if attend is not None:
            net.set_attention(attend)
        net.prepare_sizes((bucket.height, bucket.width) for bucket in shapes.image_buckets())  # on the host
        self.net = device.place(net).eval().requires_grad_(False)
        device.tune(self.net)
        self.device, self.shapes = device, shapes
        self.usage = Usage()
        self._image = device.prepare(self._image_step)
        self._score = device.prepare(self.net.products, short=True)
        self._text = device.prepare(self.net.encode_tokens)
        self._lock = threading.Lock()

    @torch.no_grad()
    def scores(self, pixels: Sequence[Tensor], texts: Sequence[Tensor], batch: int) -> list[Tensor]:
        """Scores of each image's own labels, before the last resize: `features`, then `scores_of`.

        Args:
            pixels: float32 [3, H, W] in -1..1, all of one bucket.
            texts: for each image, the unit embeddings of its labels: float32 [K_i, E].
            batch: how many images go through the network; fewer are padded with black ones.

        Returns:
            For each image float32 [K_i, H/2, W/2].
        """
        return self.scores_of(self.features(pixels, batch), texts, pixels[0].shape[1], pixels[0].shape[2])

    @torch.no_grad()
    def features(self, pixels: Sequence[Tensor], batch: int) -> Tensor:
        """The features of images, float32 [batch, F+4, P] on the device, from which `scores_of` makes scores.

        The images, float32 [3, H, W] in -1..1, are all of one bucket.
        """
        with self._working():
            self.usage.add_images(str(Bucket(*pixels[0].shape[1:])), len(pixels), batch)
            return self._image(self.device.to_device(_padded_images(pixels, batch)))

    @torch.no_grad()
    def scores_of(self, features: Tensor, texts: Sequence[Tensor], height: int, width: int) -> list[Tensor]:
        """Scores [K_i, H/2, W/2] of each image's own labels.

        Args:
            features: [B, F+4, P], of images of `height` x `width` pixels.
            texts: for each image, the unit embeddings of its labels: float32 [K_i, E].
            height: the images' height H.
            width: the images' width W.
        """
        labels = self.shapes.label_count(max(len(text) for text in texts))
        with self._working():
            self.usage.add_labels(sum(len(text) for text in texts), labels * len(features))
            stacked = self.device.to_device(_padded_texts(texts, labels, len(features)))
            products = self.device.to_host(self._score(features, stacked))
        height, width = height // 4, width // 4
        maps = products[:, :, : height * width].unflatten(2, (height, width))
        return [self._own_scores(own, len(text)) for own, text in zip(maps, texts, strict=False)]

    def _own_scores(self, products: Tensor, labels: int) -> Tensor:
        """Scores [K, 2h, 2w] of an image's own labels, from products [K' + 4, h, w] of K' labels, padding included."""
        own = products if len(products) == labels + 4 else torch.cat([products[:labels], products[-4:]])
        return finish_scores(own[None], self._regularizer)[0]

    @torch.no_grad()
    def encode(self, labels: Sequence[str]) -> Tensor:
        """Unit embeddings of `labels`: float32 [K, E].

        Raises:
            ValueError: a label has more tokens than the text tower takes.
        """
        tokens = tokenize(labels, self.net.architecture.context_length)
        tokens = F.pad(tokens, (0, self.shapes.token_count(tokens.shape[1]) - tokens.shape[1]))
        return self._encode_tokens(tokens)

    @torch.no_grad()
    def run_blank(self, graph: Graph) -> None:
        """Run `graph` once on blank inputs, exactly as a request would run it."""
        if isinstance(graph, TextGraph):
            self._encode_tokens(torch.zeros(graph.labels, graph.tokens, dtype=torch.int64))
            return
        labels = graph.labels if isinstance(graph, ScoreGraph) else 1
        bucket = self._bucket_of(graph.pixels) if isinstance(graph, ScoreGraph) else graph.bucket
        text = torch.zeros(labels, self.net.architecture.embedding)
        self.scores([torch.zeros(3, bucket.height, bucket.width)], [text], graph.batch)

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Have the device for the block, and count its seconds."""
        with self._lock:
            start = time.perf_counter()
            try:
                yield
            finally:
                self.usage.seconds += time.perf_counter() - start

    def _bucket_of(self, pixels: int) -> Bucket:
        return next(bucket for bucket in self.shapes.image_buckets() if self.shapes.pixel_count(bucket) == pixels)

    def _encode_tokens(self, tokens: Tensor) -> Tensor:
        """`tokens` int64 [K, L] with a planned L -> [K, E], in batches of the planned size."""
        size = self.shapes.text_batch or max(1, len(tokens))
        parts = []
        with self._working():
            for part in tokens.split(size):
                padded = F.pad(part, (0, 0, 0, size - len(part))) if self.shapes.text_batch else part
                self.usage.add_texts(len(part), len(padded))
                padded = padded.int()  # a Gaudi has no argmax of int64, or computes it in 32 bits
                parts.append(self.device.to_host(self._text(self.device.to_device(padded)))[: len(part)])
        return torch.cat(parts)

    def _image_step(self, pixels: Tensor) -> Tensor:
        """`pixels` [B, 3, H, W] -> features [B, F+4, P], padded to a planned P."""
        with self.device.reduced_precision():
            decoded = self.net.decode(pixels)
        features = self.net.features(decoded).flatten(2)
        count = self.shapes.pixel_count(Bucket(pixels.shape[2], pixels.shape[3]))
        return F.pad(features, (0, count - features.shape[2])) if count > features.shape[2] else features


def _padded_images(pixels: Sequence[Tensor], batch: int) -> Tensor:
    """One tensor [batch, 3, H, W] of `pixels` [3, H, W] each, padded with black images."""
    padded = torch.full((batch, *pixels[0].shape), BLACK)
    for place, own in zip(padded, pixels, strict=False):
        place.copy_(own)
    return padded


def _padded_texts(texts: Sequence[Tensor], labels: int, batch: int) -> Tensor:
    """One tensor [batch, labels, E] of `texts` [K_i, E] each, padded with zeros."""
    padded = torch.zeros(batch, labels, texts[0].shape[1])
    for place, own in zip(padded, texts, strict=False):
        place[: len(own)] = own
    return padded
