"""Sends images to a running server, several at a time, and compares each response with the ground truth."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from lseg_serve.client import ClientError, LSegClient, Mask
from lseg_serve.evaluation.errors import EvaluationError
from lseg_serve.evaluation.journal import Journal, Record, cells_of
from lseg_serve.evaluation.metrics import confusion_matrix
from lseg_serve.evaluation.samples import Sample
from lseg_serve.evaluation.truth import Indices, read_truth

logger = logging.getLogger(__name__)

# After so many failures in a row, the run stops: the rest would fail as well.
_FAILURES_IN_A_ROW = 20


@dataclass(frozen=True)
class Server:
    """Where to send the images, and how."""

    url: str
    model: str = "lseg"
    mode: str = "fast"
    timeout: float = 600  # seconds for one response
    template: tuple[str, ...] | None = None  # None: the server's own


@dataclass(frozen=True)
class Session:
    """What one run of the command did."""

    images: int
    seconds: float


def check_server(server: Server) -> None:
    """Raise EvaluationError if no server responds."""
    try:
        with LSegClient(server.url, server.model) as client:
            client.ping()
    except ClientError as error:
        raise EvaluationError(f"no server responds at {server.url}: {error}") from error


def run(samples: Sequence[Sample], server: Server, journal: Journal, masks: Path, workers: int) -> Session:
    """Measure the samples that `journal` does not have, and write their masks below `masks` as they were received.

    After an interrupt, the requests that are in flight are finished and kept.

    Raises:
        EvaluationError: everything fails; what was measured before is kept.
        KeyboardInterrupt: as it came.
    """
    left = [sample for sample in samples if not journal.done(sample.name)]
    start = time.perf_counter()
    client = LSegClient(server.url, server.model, server.timeout, max_concurrency=workers)
    pool = ThreadPoolExecutor(workers)
    futures = [pool.submit(_measured, sample, server, client, masks) for sample in left]
    try:
        _collect(futures, journal, total=len(samples))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for future in futures:
            if future.done() and not future.cancelled() and not journal.done(future.result().name):
                journal.add(future.result())
        client.close()
    return Session(len(left), time.perf_counter() - start)


def _collect(futures: Sequence[Future[Record]], journal: Journal, total: int) -> None:
    """Keep records as they come. The expected end follows from the mean rate of this session alone."""
    failures = 0
    with tqdm(total=total, initial=total - len(futures), unit="image", smoothing=0, disable=None) as progress:
        for future in as_completed(futures):
            record = future.result()
            journal.add(record)
            progress.update()
            failures = failures + 1 if record.error else 0
            if record.error:
                logger.warning("%s: %s", record.name, record.error)
            if failures >= _FAILURES_IN_A_ROW:
                raise EvaluationError(f"{failures} images failed one after another, the last with: {record.error}")


def _measured(sample: Sample, server: Server, client: LSegClient, masks: Path) -> Record:
    try:
        truth = read_truth(sample.truth, sample.rule)
        image = sample.image.read_bytes()
        start = time.perf_counter()
        mask = client.segment(image, sample.sent_labels, mode=server.mode, template=server.template)
        milliseconds = (time.perf_counter() - start) * 1000
        _check_legend(sample, mask)
        _check_size(sample, truth, mask)
        _keep(mask, masks / f"{sample.name}.png")
        confusion = confusion_matrix(truth, mask.indices, len(sample.labels))
        return Record(sample.name, round(milliseconds, 1), cells_of(confusion))
    except ClientError as error:
        return Record(sample.name, error=str(error), status=error.status)
    except (OSError, EvaluationError) as error:
        return Record(sample.name, error=str(error))
    except (KeyError, TypeError, ValueError) as error:
        return Record(sample.name, error=f"the response is not a mask with a legend: {error!r}")


def _check_legend(sample: Sample, mask: Mask) -> None:
    """Refuse a mask with other labels than the sample's, above all where the model's own label set is used."""
    found = [entry.name for entry in mask.legend]
    if found != list(sample.names):
        different = next((pair for pair in zip(sample.names, found, strict=False) if pair[0] != pair[1]), None)
        detail = f"{different[1]!r} in place of {different[0]!r}" if different else f"{len(found)} labels"
        raise EvaluationError(
            f"the response has other labels ({detail}); where two labels are the same text, the model must be "
            "exported with the label set (python -m export --labels ...), because a request cannot name them"
        )


def _check_size(sample: Sample, truth: Indices, mask: Mask) -> None:
    if truth.shape != mask.indices.shape:
        (height, width), (mask_height, mask_width) = truth.shape, mask.indices.shape
        raise EvaluationError(
            f"the ground truth is {width}x{height} and the image {mask_width}x{mask_height} (upright); "
            f"{sample.truth} does not belong to {sample.image}"
        )


def _keep(mask: Mask, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mask.png)
