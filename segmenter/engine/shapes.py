"""The shapes of the tensors that reach the device.

A Gaudi card compiles each new shape, which takes long. So a card gets only a few shapes, which are planned here and
run at warm-up. Other devices take any number of labels and tokens.

The network runs in three steps. Each step at each shape is one graph:

    image   pixels [B, 3, H, W]             -> features [B, F+4, P]     by image bucket and batch
    score   features, label texts [B, K, E] -> products [B, K+4, P]     by batch, label bucket and pixels
    text    tokens [N, L]                   -> label texts [N, E]       by token bucket

B is the batch, H x W the image bucket, F the number of features, P the pixels of a feature map, K the labels of an
image, N the labels encoded together, L the tokens of a label, and E the size of its embedding.

In three steps the numbers of image buckets and label buckets add up. In one graph for the whole network they would
multiply.

Padding never changes a result. A pixel's products depend on its own features, and a label's on its own text. The images
of a batch do not affect each other. Tokens after a label's end are not read, since CLIP's text tower is causal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import attrgetter, itemgetter

from lseg_serve.model import Architecture
from lseg_serve.segmenter.config import Config
from lseg_serve.segmenter.devices import Device
from lseg_serve.segmenter.devices.hpu.bridge import mode_of
from lseg_serve.segmenter.errors import ConfigError
from lseg_serve.segmenter.preprocessing.buckets import Bucket, make_bucket, make_buckets

# What a batch costs besides its images, in images. It decides between one padded batch and several without padding.
_BATCH_COST = 1


@dataclass(frozen=True)
class ImageGraph:
    """The image step at one size."""

    bucket: Bucket
    batch: int

    def __str__(self) -> str:
        return f"image {self.bucket} batch {self.batch}"


@dataclass(frozen=True)
class ScoreGraph:
    """The score step: the dot products of pixels and labels."""

    batch: int
    labels: int
    pixels: int

    def __str__(self) -> str:
        return f"score {self.pixels} pixels labels {self.labels} batch {self.batch}"


@dataclass(frozen=True)
class TextGraph:
    """The text step: CLIP's text tower."""

    labels: int
    tokens: int

    def __str__(self) -> str:
        return f"text labels {self.labels} tokens {self.tokens}"


Graph = ImageGraph | ScoreGraph | TextGraph


@dataclass(frozen=True)
class Shapes:
    """The shapes that may reach the device.

    None stands for any number. All tuples are in ascending order, except `buckets`.
    """

    buckets: tuple[Bucket, ...]  # of whole images, in fast mode
    window: Bucket  # of the windows of accurate mode
    batches: tuple[int, ...]  # of windows
    image_batches: tuple[int, ...]  # of whole images
    labels: tuple[int, ...] | None = None
    tokens: tuple[int, ...] | None = None
    pixels: tuple[int, ...] | None = None  # of a feature map; None: as many as the image's bucket has
    text_batch: int | None = None  # labels that are encoded together

    def split_images(self, count: int) -> list[int]:
        """The sizes of the batches for `count` whole images of one bucket; see `split`."""
        return split(count, self.image_batches)

    def split_windows(self, count: int) -> list[int]:
        """The sizes of the batches for `count` windows of accurate mode; see `split`."""
        return split(count, self.batches)

    def label_count(self, count: int) -> int:
        """The number of labels that `count` labels are padded to."""
        return count if self.labels is None else _at_least(self.labels, count)

    def token_count(self, count: int) -> int:
        """The number of tokens that labels of up to `count` tokens are padded to."""
        return count if self.tokens is None else _at_least(self.tokens, count)

    def pixel_count(self, bucket: Bucket) -> int:
        """The number of pixels that the feature map of `bucket` is padded to."""
        own = feature_pixels(bucket)
        return own if self.pixels is None else _at_least(self.pixels, own)

    def image_buckets(self) -> tuple[Bucket, ...]:
        """Every size of image that reaches the device, in fast and in accurate mode."""
        return self.buckets if self.window in self.buckets else (*self.buckets, self.window)

    def image_graphs(self) -> list[ImageGraph]:
        """Every size and batch in which images reach the device, single images before batches."""
        whole = {(bucket, batch) for bucket in self.buckets for batch in self.image_batches}
        cut = {(self.window, batch) for batch in self.batches}
        batches = sorted({*self.batches, *self.image_batches})
        every = ((bucket, batch) for batch in batches for bucket in self.image_buckets())
        return [ImageGraph(bucket, batch) for bucket, batch in every if (bucket, batch) in whole | cut]

    def graphs(self) -> list[Graph]:
        """All graphs, the most used first: single images before batches, few labels before many.

        Raises:
            ValueError: the number of shapes is not bounded.
        """
        if self.labels is None or self.tokens is None or self.text_batch is None:
            raise ValueError("the device takes any shape; there is no list of its graphs")
        graphs: list[Graph] = [TextGraph(self.text_batch, tokens) for tokens in self.tokens]
        for batch, images in groupby(self.image_graphs(), attrgetter("batch")):
            together = list(images)
            pixels = sorted({self.pixel_count(image.bucket) for image in together})
            graphs += together
            graphs += [ScoreGraph(batch, labels, count) for labels in self.labels for count in pixels]
        return graphs


def split(count: int, sizes: Sequence[int]) -> list[int]:
    """The sizes of the batches for `count` images, the largest first. Together they hold `count` or more.

    It is the cheapest choice among `sizes`. A batch costs as much as its images, including padding, and `_BATCH_COST`.
    """
    cost, best = [0.0] + [float("inf")] * count, [0] * (count + 1)
    for number in range(1, count + 1):
        for size in sizes:
            total = cost[max(0, number - size)] + size + _BATCH_COST
            if total <= cost[number]:  # of equals, the fewer batches
                cost[number], best[number] = total, size
    chosen = []
    while count > 0:
        chosen.append(best[count])
        count -= best[count]
    return sorted(chosen, reverse=True)


def feature_pixels(bucket: Bucket) -> int:
    """The pixels of the feature map of `bucket`: a quarter of its height times a quarter of its width."""
    return (bucket.height // 4) * (bucket.width // 4)


def plan_shapes(config: Config, architecture: Architecture, device: Device, most_images: int | None = None) -> Shapes:
    """The shapes for a device: bounded if it compiles each shape, unbounded if not.

    Args:
        config: the configuration.
        architecture: the sizes of the network.
        device: the device.
        most_images: how many images come together at most; None if any number may.

    Raises:
        ConfigError: no bounded plan keeps to `hpu.max_graphs`.
    """
    if device.compiles_each_shape:
        return bounded_shapes(config, architecture, most_images)
    sizes = device.batch_sizes
    return Shapes(_image_buckets(config, lazy=False), _window(config), sizes, _used(sizes, most_images))


def bounded_shapes(config: Config, architecture: Architecture, most_images: int | None = None) -> Shapes:
    """The plan for a Gaudi card, which compiles each shape.

    The buckets of images, labels, tokens and batches follow from the configuration. The number of feature map sizes is
    chosen here, between one for all image buckets and one for each of them. More sizes mean less padding and more
    graphs, so it is the largest number with which `hpu.max_graphs` is kept.

    Raises:
        ConfigError: even with one size of feature map there are more graphs than `hpu.max_graphs`.
    """
    buckets, window = _image_buckets(config, lazy=mode_of(config.hpu_mode) != "eager"), _window(config)
    areas = sorted({feature_pixels(bucket) for bucket in (*buckets, window)})
    least = None
    for count in range(len(areas), 0, -1):
        shapes = Shapes(
            buckets,
            window,
            batches=config.hpu.batch_sizes,
            image_batches=_used(config.hpu.batch_sizes, most_images),
            labels=label_buckets(config.default_lazy_mode_label_number, config.max_labels),
            tokens=_token_buckets(config.hpu.token_lengths, architecture.context_length),
            pixels=_levels(areas, count),
            text_batch=config.default_lazy_mode_label_number,
        )
        least = len(shapes.graphs())
        if least <= config.hpu.max_graphs:
            return shapes
    raise ConfigError(
        f"hpu.max_graphs is {config.hpu.max_graphs}, but this configuration takes at least {least} graphs; accepted: "
        f"{least} or more, or fewer image sizes, hpu.batch_sizes or hpu.token_lengths, or a lower max_labels"
    )


def label_buckets(least: int, most: int) -> tuple[int, ...]:
    """The numbers of labels that are planned: `least`, doubled until it would exceed `most`, and `most` itself."""
    counts = [min(least, most)]
    while counts[-1] < most:
        counts.append(min(2 * counts[-1], most))
    return tuple(counts)


def _used(sizes: tuple[int, ...], most_images: int | None) -> tuple[int, ...]:
    """Those of the batch sizes that up to `most_images` images are ever split into; all of them if that is None."""
    if most_images is None:
        return sizes
    counts = range(1, min(most_images, sizes[-1]) + 1)  # so many that fill the largest batch use every size
    return tuple(sorted({size for count in counts for size in split(count, sizes)}))


def _image_buckets(config: Config, *, lazy: bool) -> tuple[Bucket, ...]:
    if config.dynamic_image_hw is None or lazy:
        return make_buckets(config.static_image_size_params)
    return (make_bucket(*config.dynamic_image_hw),)


def _window(config: Config) -> Bucket:
    return Bucket(config.accurate.crop_size, config.accurate.crop_size)


def _token_buckets(lengths: Sequence[int], context_length: int) -> tuple[int, ...]:
    return tuple(sorted({min(length, context_length) for length in (*lengths, context_length)}))


def _levels(areas: Sequence[int], count: int) -> tuple[int, ...]:
    """The `count` levels, chosen among `areas`, that need the least padding.

    The areas are in ascending order. Each is padded to the next level, so the last area is always a level. There are
    too many choices to try them all, so the best levels are built up from the best levels of fewer areas.
    """

    @cache
    def best(end: int, count: int) -> tuple[int, tuple[int, ...]]:
        """The best `count` levels for the first `end` areas, after the sum of these areas as padded."""
        top = areas[end - 1]
        if count == 1:
            return end * top, (top,)
        below = ((best(start, count - 1), end - start) for start in range(count - 1, end))
        choices = ((total + own * top, (*levels, top)) for (total, levels), own in below)
        return min(choices, key=itemgetter(0))

    return best(len(areas), count)[1]


def _at_least(levels: Sequence[int], count: int) -> int:
    """The first of the ascending `levels` that is `count` or more.

    Raises:
        ValueError: none is.
    """
    for level in levels:
        if level >= count:
            return level
    raise ValueError(f"{count} is beyond the largest bucket, {levels[-1]}")
