"""Inference: devices, shape buckets, text cache and masks. Knows nothing of HTTP or TorchServe."""

from segmenter.config import Config
from segmenter.jobs import Job, Segmentation
from segmenter.segmenter import Segmenter

__all__ = ["Config", "Job", "Segmentation", "Segmenter"]
