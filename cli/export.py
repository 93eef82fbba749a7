"""`lseg export`: a checkpoint, packaged for TorchServe."""

from __future__ import annotations

import argparse
import shlex
import time
from dataclasses import fields
from pathlib import Path

from safetensors import SafetensorError

from lseg_serve.cli.manners import CommandError, Status, add_json, write
from lseg_serve.export.errors import ExportError, ToleranceError
from lseg_serve.export.exporter import Summary, export
from lseg_serve.export.packaging import SUFFIXES
from lseg_serve.export.plan import DEFAULT_CONFIG, Options
from lseg_serve.export.precision import AUTO, PRECISIONS, TARGETS
from lseg_serve.labelsets import NAMES, as_json
from lseg_serve.model.architecture import ACTIVATIONS, preset_name


def run(arguments: argparse.Namespace) -> int:
    """Export as the arguments say; 0 when the archive is in its place and has passed its check."""
    options = Options(**{field.name: getattr(arguments, field.name) for field in fields(Options)})
    start = time.perf_counter()
    try:
        summary = export(options)
    except ExportError as error:
        fault = isinstance(error, ToleranceError) or isinstance(error.__cause__, OSError | SafetensorError)
        status = Status.FAULT if fault else Status.REFUSED
        raise CommandError(status, f"export failed: {error}") from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt("export interrupted; nothing was left behind") from None
    _report(arguments, options, summary, time.perf_counter() - start)
    return Status.OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("checkpoint", type=Path, help="Lightning .ckpt, state dict or .safetensors")
    parser.add_argument("--output", type=Path, default=Path("model_store"), help="folder (default: %(default)s)")
    parser.add_argument("--name", default="lseg", help="the model's name in its URL (default: %(default)s)")
    parser.add_argument("--version", default="1.0", help="(default: %(default)s)")
    parser.add_argument(
        "--labels",
        default="ade20k",
        help=f"labels for requests that name none: {', '.join(NAMES)} (published: spelt as lang-seg spells them), or a "
        "file with one a line or a JSON list (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=AUTO,
        help="auto: the first that the target computes well and that is accurate enough (default: %(default)s)",
    )
    parser.add_argument(
        "--target",
        choices=TARGETS,
        default=AUTO,
        help="what the archive will run on, for --precision auto; auto: this machine (default: %(default)s)",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        help="folder of up to 8 images of the kind that will be served, for int8 and for the check (default: those "
        "that ship with the project)",
    )
    parser.add_argument(
        "--archive-format",
        choices=tuple(SUFFIXES),
        default="default",
        help="default: a .mar; no-archive: a folder, served without a copy; tgz (default: %(default)s)",
    )
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG, help="the worker's model-config.yaml (default: the project's)"
    )
    told = parser.add_argument_group("what a file with a regularisation block cannot tell without hyper-parameters")
    told.add_argument("--arch-option", type=int, choices=(1, 2), help="1 bottleneck, 2 depthwise")
    told.add_argument("--block-depth", type=int, help="rounds of the block")
    told.add_argument("--activation", choices=ACTIVATIONS)
    held = parser.add_argument_group("what else a checkpoint may hold")
    held.add_argument("--tensors", metavar="NAME", help="which network to take of several, which the error names")
    held.add_argument(
        "--ignore-extra",
        action="store_true",
        help="drop what is no part of the network, such as a criterion or a running average; it is named",
    )
    add_json(parser)


def _report(arguments: argparse.Namespace, options: Options, summary: Summary, seconds: float) -> None:
    architecture = summary.architecture
    backbone = preset_name(architecture) or f"{architecture.backbone} of width {architecture.width}"
    served = ["--model-store", str(options.output), "--model", f"{options.name}={options.archive.name}"]
    serve = f"lseg serve {shlex.join(served)}"
    document = {
        "archive": str(summary.archive),
        "bytes": summary.bytes,
        "seconds": round(seconds, 3),
        "network": backbone,
        "parameters": summary.parameters,
        "precision": summary.precision,
        "label_set": {"name": summary.label_set.name, "labels": list(map(as_json, summary.label_set.labels))},
        "checked": {"largest_difference": summary.difference.largest, "agreement": summary.difference.agreement},
        "serve": serve,
    }
    text = (
        f"{summary.archive}: {summary.bytes / 1e6:.0f} MB in {seconds:.0f} s\n"
        f"  network    {backbone}, {summary.parameters / 1e6:.1f} M parameters, {summary.precision}\n"
        f"  label set  {summary.label_set.name}, {len(summary.label_set.labels)} labels\n"
        f"  checked    loaded as a worker would: logits within {summary.difference.largest:.1e} of the checkpoint's, "
        f"{summary.difference.agreement:.2%} of labels the same\n"
        f"  speed      {summary.difference.seconds:.2f} s for a small image on this machine's CPU; the checkpoint "
        f"takes {summary.difference.checkpoint_seconds:.2f} s\n"
        f"  serve it   {serve}"
    )
    write(arguments, document, text)
