"""A prediction as Label Studio reads it, from the endpoint's answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lseg_serve.annotation.label_studio.labelling import Labelling
from lseg_serve.annotation.outlines import rings
from lseg_serve.annotation.vocabulary import Entry, Vocabulary
from lseg_serve.client import Region, Report

# The field `geometry` of a request for regions of each kind. Polygons are made here, of the mask.
GEOMETRY = {"brush": "label_studio", "polygon": "rle"}
_DIGITS = 4  # of a coordinate in percent: 0.01 pixels at 10,000


def prediction_of(
    report: Report, labelling: Labelling, vocabulary: Vocabulary, min_share: float, tolerance: float
) -> dict[str, Any]:
    """The regions of a report for the entries of `vocabulary`, with their scores.

    Entries that have no pixels, a share below `min_share` or no label make no region. Regions come by their area, the
    largest first, so that the small ones lie on top. The score of the whole is the mean of the regions' scores by area.

    Returns:
        `result` and `score`. A region is one entry, or two of one id where shape and labels have controls of their own.
    """
    chosen = [
        (region, entry)
        for region, entry in zip(report.labels, vocabulary.entries, strict=True)
        if entry.label is not None and region.area and region.share >= min_share
    ]
    chosen.sort(key=lambda pair: -pair[0].area)
    result = [
        part
        for region, entry in chosen
        for number, value in enumerate(_values(report, region, labelling, tolerance))
        for part in _parts(report, region, entry, labelling, f"lseg-{region.index}-{number}", value)
    ]
    scored = [(region.area, region.mean_score) for region, _ in chosen if region.mean_score is not None]
    area = sum(one for one, _ in scored)
    score = sum(one * score for one, score in scored) / area if area else 0.0
    return {"result": result, "score": round(score, 6)}


def _values(report: Report, region: Region, labelling: Labelling, tolerance: float) -> Iterator[dict[str, Any]]:
    """The shapes of a region: one of the brush, or a polygon for each of its pieces."""
    if labelling.kind == "brush":
        yield {"format": "rle", "rle": region.label_studio}
        return
    percent = (100 / report.width, 100 / report.height)
    for ring in rings(report.mask.indices == region.index, tolerance):
        points = (ring * percent).round(_DIGITS).clip(0, 100).tolist()
        yield {"points": points, "closed": True}


def _parts(
    report: Report, region: Region, entry: Entry, labelling: Labelling, identity: str, value: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    common: dict[str, Any] = {
        "id": identity,
        "to_name": labelling.to_name,
        "original_width": report.width,
        "original_height": report.height,
        "image_rotation": 0,
    }
    if region.mean_score is not None:
        common["score"] = region.mean_score
    if entry.note:
        common["meta"] = {"text": [entry.note]}  # the words that it was found by
    kind = labelling.kind
    if labelling.shape_name is None:
        yield common | {
            "from_name": labelling.from_name,
            "type": f"{kind}labels",
            "value": value | {f"{kind}labels": [entry.label]},
        }
        return
    yield common | {"from_name": labelling.shape_name, "type": kind, "value": value}
    yield common | {"from_name": labelling.from_name, "type": "labels", "value": value | {"labels": [entry.label]}}
