"""What the model says of itself: `GET /models/lseg?customized=true` on the management port."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lseg_serve.handler.request_model import request_schema
from lseg_serve.labelsets import as_json
from lseg_serve.segmenter import Segmenter


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
            "labels": list(map(as_json, segmenter.label_set)),
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
            "max_templates": config.max_templates,
            "max_points": config.max_points,
            "max_response_bytes": max_response_bytes,
            "max_request_seconds": config.max_request_seconds,
        },
        "seconds": None if segmenter.costs is None else asdict(segmenter.costs.rates),
        "accurate": config.accurate.model_dump(),
        "request": request_schema(config),
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
