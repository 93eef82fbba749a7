"""Inference: images and labels in, masks out. Knows nothing of HTTP or TorchServe.

These names are the public face: handler, export, evaluation and bench use no others of this package.
"""

from lseg_serve.segmenter.archive import (
    ARCHIVE_FORMAT,
    CONFIG_FILE,
    LABELS_FILE,
    MANIFEST_FILE,
    WEIGHTS_FILE,
    unpack,
)
from lseg_serve.segmenter.config import MODES, Config, Mode, ModelConfigFile, StaticImageSizeParams
from lseg_serve.segmenter.cost import CostModel, Rates, Work
from lseg_serve.segmenter.devices import GraphCounts, choose_device, kind_at_hand
from lseg_serve.segmenter.embed.embedder import Embedding, EmbedJob
from lseg_serve.segmenter.embed.options import DTYPES, PRESETS, EmbedOptions
from lseg_serve.segmenter.errors import (
    ArchiveError,
    ConfigError,
    DeviceError,
    DeviceLostError,
    InvalidImageError,
    InvalidLabelsError,
    InvalidOptionError,
    InvalidRequestError,
    NotReadyError,
    OutOfMemoryError,
    RequestTooCostlyError,
    RequestTooLargeError,
    ResponseTooLargeError,
    SegmenterError,
    UnsupportedImageError,
)
from lseg_serve.segmenter.jobs import EncodedLabels, Job, Segmentation
from lseg_serve.segmenter.masks.mask import UNLABELLED
from lseg_serve.segmenter.preprocessing.buckets import BLACK, Bucket, choose_bucket, make_buckets, resize_to_bucket
from lseg_serve.segmenter.preprocessing.decoding import IMAGE_FORMATS, Pixels, Reading, decode_image
from lseg_serve.segmenter.preprocessing.labels import checked_labels
from lseg_serve.segmenter.scratch import ScratchFolder
from lseg_serve.segmenter.segmenter import Segmenter

__all__ = [
    "ARCHIVE_FORMAT",
    "BLACK",
    "CONFIG_FILE",
    "DTYPES",
    "IMAGE_FORMATS",
    "LABELS_FILE",
    "MANIFEST_FILE",
    "MODES",
    "PRESETS",
    "UNLABELLED",
    "WEIGHTS_FILE",
    "ArchiveError",
    "Bucket",
    "Config",
    "ConfigError",
    "CostModel",
    "DeviceError",
    "DeviceLostError",
    "EmbedJob",
    "EmbedOptions",
    "Embedding",
    "EncodedLabels",
    "GraphCounts",
    "InvalidImageError",
    "InvalidLabelsError",
    "InvalidOptionError",
    "InvalidRequestError",
    "Job",
    "Mode",
    "ModelConfigFile",
    "NotReadyError",
    "OutOfMemoryError",
    "Pixels",
    "Rates",
    "Reading",
    "RequestTooCostlyError",
    "RequestTooLargeError",
    "ResponseTooLargeError",
    "ScratchFolder",
    "Segmentation",
    "Segmenter",
    "SegmenterError",
    "StaticImageSizeParams",
    "UnsupportedImageError",
    "Work",
    "checked_labels",
    "choose_bucket",
    "choose_device",
    "decode_image",
    "kind_at_hand",
    "make_buckets",
    "resize_to_bucket",
    "unpack",
]
