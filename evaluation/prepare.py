"""Prepare ADE20K: check the published zip by its hash, unpack it, count its pairs."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from lseg_serve.evaluation.download import download
from lseg_serve.evaluation.errors import EvaluationError
from lseg_serve.evaluation.samples import ade20k_root

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """The published file and what is in it."""

    url: str = "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip"
    sha1: str = "219e1696abb36c8ba3a3afe7fb2f4b4606a897c7"
    pairs: tuple[tuple[str, int], ...] = (("training", 20210), ("validation", 2000))


ADE20K = Published()


def prepare_ade20k(data: Path, *, may_download: bool, published: Published = ADE20K) -> Path:
    """The complete folder ADEChallengeData2016 in `data`. If it is missing, it is unpacked from the zip beside it.

    Raises:
        EvaluationError: the zip is missing, is not the published one, or the folder is not complete.
    """
    root = ade20k_root(data)
    if not root.exists():
        archive = root.with_suffix(".zip")
        if not archive.exists():
            if not may_download:
                raise EvaluationError(
                    f"neither {root} nor {archive} is there; add --download, or fetch {published.url} yourself"
                )
            download(published.url, archive)
        _check_sha1(archive, published)
        _unpack(archive, root)
    _check_pairs(root, published)
    return root


def _check_sha1(archive: Path, published: Published) -> None:
    digest = hashlib.sha1(usedforsecurity=False)
    size = archive.stat().st_size
    with (
        archive.open("rb") as file,
        tqdm.wrapattr(file, "read", total=size, desc="checking", leave=False, disable=None) as wrapped,
    ):
        while chunk := wrapped.read(8 << 20):
            digest.update(chunk)
    if digest.hexdigest() != published.sha1:
        raise EvaluationError(
            f"{archive}: sha1 {digest.hexdigest()}, {size} bytes; the published file has {published.sha1}. "
            "Remove it and fetch it again"
        )
    logger.info("%s is the published file", archive)


def _unpack(archive: Path, root: Path) -> None:
    """Unpack beside the target, then move it there. A stopped run so leaves no incomplete folder."""
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=root.parent) as folder:
        try:
            with zipfile.ZipFile(archive) as zipped:
                for entry in tqdm(zipped.infolist(), desc="unpacking", unit="file", leave=False, disable=None):
                    zipped.extract(entry, folder)
        except zipfile.BadZipFile as error:
            raise EvaluationError(f"{archive}: {error}") from error
        unpacked = Path(folder) / root.name
        if not unpacked.is_dir():
            raise EvaluationError(f"{archive}: holds no folder {root.name}")
        shutil.move(unpacked, root)


def _check_pairs(root: Path, published: Published) -> None:
    for split, expected in published.pairs:
        images = {path.stem for path in (root / "images" / split).glob("*.jpg")}
        truths = {path.stem for path in (root / "annotations" / split).glob("*.png")}
        alone = sorted(images ^ truths)
        if alone:
            raise EvaluationError(f"{root}: {split}/{alone[0]} has no partner (and {len(alone) - 1} more)")
        if len(images) != expected:
            raise EvaluationError(f"{root}: {len(images)} pairs in {split}; the published file has {expected}")
        logger.info("%s: %d pairs", split, expected)
