"""The export, step by step: plan, choose a precision, write, pack, check, publish."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from tqdm import tqdm

from lseg_serve.export.comparison import Difference, Reference
from lseg_serve.export.contents import write_contents
from lseg_serve.export.errors import ExportError
from lseg_serve.export.label_sets import LabelSet
from lseg_serve.export.packaging import pack
from lseg_serve.export.plan import Options, Plan, make_plan
from lseg_serve.export.precision import choose_precision
from lseg_serve.export.staging import publish, staging_folder
from lseg_serve.export.verification import verify
from lseg_serve.export.weights import prepare
from lseg_serve.model import Architecture, LSeg, int8
from lseg_serve.model.wholeness import listed

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """What an export did."""

    archive: Path
    bytes: int
    architecture: Architecture
    parameters: int
    label_set: LabelSet
    precision: str
    difference: Difference


def export(options: Options) -> Summary:
    """Write the archive of a checkpoint, check it, and put it in its place.

    Raises:
        ExportError: it cannot be done or did not pass its check; `options.archive` is as it was before.
    """
    logger.info("[1/5] reading %s", options.checkpoint)
    plan = make_plan(options)
    if plan.checkpoint.ignored:
        logger.info("ignored, for it is no part of LSeg: %s", listed(list(plan.checkpoint.ignored)))
    output = plan.archive.parent
    try:
        output.mkdir(parents=True, exist_ok=True)
        _check_space(plan, output)
        with staging_folder(output) as staging:
            return _export(plan, staging)
    except (OSError, SafetensorError) as error:  # safetensors wraps what the system says
        raise ExportError(f"cannot write to {output}: {error}") from error


def _export(plan: Plan, staging: Path) -> Summary:
    words = plan.label_set.words
    logger.info("[2/5] encoding %d labels, and a test image with the checkpoint as it is", len(words))
    net = plan.network()
    with torch.no_grad():
        embeddings = net.encode_labels(words)
    reference = Reference.of(net, words, plan.calibration.test_image(plan.config))
    del net  # its memory is needed for the next
    net, precision = choose_precision(plan.precisions, lambda name: _network_in(name, plan), reference)

    logger.info("[3/5] writing weights as %s", precision)
    folder = staging / "archive"
    parameters = write_contents(folder, plan, net, precision, embeddings)

    logger.info("[4/5] packing %s", plan.archive)
    packed = staging / plan.archive.name
    pack(folder, packed, plan.name, plan.archive_format)
    shutil.rmtree(folder, ignore_errors=True)  # its place on the disk is needed for the check

    logger.info("[5/5] loading the archive as a worker would, and comparing with the checkpoint")
    difference = verify(packed, reference, precision, staging)
    size = sum(path.stat().st_size for path in [packed, *packed.rglob("*")] if path.is_file())
    publish(packed, plan.archive)
    return Summary(plan.archive, size, net.architecture, parameters, plan.label_set, precision, difference)


def _network_in(precision: str, plan: Plan) -> LSeg:
    """The checkpoint's network in a precision, as it will be served.

    Raises:
        ExportError: this machine cannot compute in it, so its accuracy cannot be checked.
    """
    if precision == "int8":
        reason = int8.unavailable_reason()
        if reason is not None:
            raise ExportError(
                f"int8 cannot be checked on this machine: {reason}; accepted here: --precision float32 or bfloat16, or "
                "another --target"
            )
        logger.info("int8 is calibrated with images: %s", plan.calibration.source)
    return prepare(plan.network(), getattr(torch, precision), plan.calibration.at_buckets(plan.config))


def _check_space(plan: Plan, output: Path) -> None:
    """Refuse at once what the disk cannot hold: the files, and beside them the archive or its unpacked copy."""
    copies = 1 if plan.archive_format == "no-archive" else 2
    needed = copies * sum(tensor.nbytes for tensor in plan.checkpoint.tensors.values())
    free = shutil.disk_usage(output).free
    if free < needed:
        raise ExportError(f"{output} has {_in_units(free)} free; up to {_in_units(needed)} are needed")


def _in_units(size: int) -> str:
    """`size` bytes for people, such as 46.6MB."""
    return str(tqdm.format_sizeof(size, "B"))
