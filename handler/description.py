"""What the model says of itself: `GET /models/lseg?customized=true` on the management port."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lseg_serve.handler.requests import FORMATS, GEOMETRIES
from lseg_serve.segmenter import IMAGE_FORMATS, MODES, Config, Segmenter


def describe(segmenter: Segmenter, max_response_bytes: int) -> dict[str, Any]:
    """Architecture, origin, device, buckets, label set, limits and the request schema, as JSON can hold them."""
    config, manifest = segmenter.config, segmenter.manifest
    return {
        "architecture": segmenter.architecture.as_dict(),
        "checkpoint_sha256": manifest.get("checkpoint", {}).get("sha256"),
        "precision": manifest.get("precision"),
        "device": segmenter.device.describe(),
        "buckets": [[bucket.height, bucket.width] for bucket in segmenter.shapes.buckets],
        "graphs": _graphs(segmenter),
        "label_set": {
            "name": manifest.get("label_set", {}).get("name"),
            "labels": list(segmenter.label_set),
        },
        "text_cache": {
            "labels": len(segmenter.text_cache),
            "hits": segmenter.text_cache.counts.hits,
            "misses": segmenter.text_cache.counts.misses,
        },
        "feature_cache": None if segmenter.feature_cache is None else asdict(segmenter.feature_cache.counts),
        "limits": {
            "max_labels": config.max_labels,
            "max_label_length": config.max_label_length,
            "max_image_pixels": config.max_image_pixels,
            "max_response_bytes": max_response_bytes,
        },
        "accurate": config.accurate.model_dump(),
        "request": _request_schema(config),
    }


def _graphs(segmenter: Segmenter) -> dict[str, Any] | None:
    """What was compiled, on a device that compiles each shape; null on others."""
    counts, warmed = segmenter.device.graph_counts(), segmenter.warmed
    if counts is None or warmed is None:
        return None
    return {
        "warm": [str(graph) for graph in warmed.warm],
        "cold": [str(graph) for graph in warmed.cold],
        "warm_up_seconds": round(warmed.seconds, 1),
        **asdict(counts),
    }


def _request_schema(config: Config) -> dict[str, Any]:
    """JSON Schema of the JSON form; the multipart form has the same fields."""
    fraction = {"type": "number", "minimum": 0, "maximum": 1}
    return {
        "type": "object",
        "required": ["image"],
        "additionalProperties": False,
        "properties": {
            "image": {"type": "string", "description": f"base64 or data URI of {', '.join(IMAGE_FORMATS)}"},
            "labels": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": config.max_labels},
            "format": {"enum": list(FORMATS), "default": "png"},
            "mode": {"enum": list(MODES), "default": config.mode},
            "threshold": {**fraction, "default": 0},
            "alpha": {**fraction, "default": 0.5},
            "geometry": {"enum": list(GEOMETRIES), "default": "rle"},
        },
    }
