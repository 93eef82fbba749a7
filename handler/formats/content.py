"""What a response can show: the same for every format, which takes from it what it needs."""

from __future__ import annotations

from dataclasses import dataclass

from lseg_serve.handler.formats.polygons import TOLERANCE
from lseg_serve.segmenter import Pixels, Segmentation


@dataclass(frozen=True)
class ServerInfo:
    """Facts about the server that go into responses."""

    model_name: str
    model_version: str
    device: str
    max_response_bytes: int  # of a response with its headers: TorchServe passes no larger one on
    max_request_bytes: int = 100_000_000  # of a body once it is unpacked: TorchServe's limit for one that is not packed
    timings: bool = True  # whether responses tell the milliseconds of each stage


@dataclass(frozen=True)
class Content:
    """One segmented image, and the options of the request that concern its response."""

    image: Pixels  # [H, W, 3], RGB
    result: Segmentation
    server: ServerInfo
    alpha: float = 0.5  # 0..1: the share of the colours in an overlay
    geometry: str = "rle"  # how JSON describes the outline of a label
    tolerance: float = TOLERANCE  # pixels by which polygons may leave the pixels' own edges
    parts: str = "together"  # one of `coco_document.PARTS`: whether a label's detached parts are objects of their own
