"""Published label sets, as data: what an export packs and an evaluation measures with."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent
NAMES = ("ade20k", "ade20k-published", "pascal", "pascal-published", "coco", "coco-published")


def published_labels(name: str) -> tuple[str, ...]:
    """The labels of one of `NAMES`, in the order of their classes: ADE20K's 150, Pascal VOC's 20, COCO's 80.

    The plain sets have clean names. The `-published` ones have them as lang-seg feeds them to the network, which its
    figures rest on: ADE20K's are cut at their first space, so that 14 lose a word ("traffic light" becomes "traffic")
    and classes 59 and 131 are both "screen"; Pascal's and COCO's lose their spaces ("pottedplant").

    Raises:
        KeyError: there is no such set.
    """
    if name not in NAMES:
        raise KeyError(name)
    family, _, published = name.partition("-")
    clean = (_FOLDER / f"{family}.txt").read_text(encoding="utf-8").splitlines()
    if not published:
        return tuple(clean)
    return tuple(label.split()[0] if family == "ade20k" else label.replace(" ", "") for label in clean)
