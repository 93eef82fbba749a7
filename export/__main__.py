"""The command `python -m export`."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
import time
from pathlib import Path

from lseg_serve.export.errors import ExportError
from lseg_serve.export.exporter import Summary, export
from lseg_serve.export.packaging import SUFFIXES
from lseg_serve.export.plan import DEFAULT_CONFIG, Options
from lseg_serve.export.precision import AUTO, PRECISIONS, TARGETS
from lseg_serve.labelsets import NAMES
from lseg_serve.model.architecture import ACTIVATIONS, preset_name


def main() -> int:
    """Export as the command line says; 0 when the archive is in its place and has passed its check."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    options = _options()
    start = time.perf_counter()
    try:
        summary = export(options)
    except ExportError as error:
        print(f"export failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("export interrupted; nothing was left behind", file=sys.stderr)
        return 130
    _report(options, summary, time.perf_counter() - start)
    return 0


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m export", description="Package an LSeg checkpoint for TorchServe.")
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
    return Options(**vars(parser.parse_args()))


def _report(options: Options, summary: Summary, seconds: float) -> None:
    architecture = summary.architecture
    backbone = preset_name(architecture) or f"{architecture.backbone} of width {architecture.width}"
    served = ["--model-store", str(options.output), "--model", f"{options.name}={options.archive.name}"]
    serve = f"python -m server start {shlex.join(served)}"
    print(
        f"{summary.archive}: {summary.bytes / 1e6:.0f} MB in {seconds:.0f} s\n"
        f"  network    {backbone}, {summary.parameters / 1e6:.1f} M parameters, {summary.precision}\n"
        f"  label set  {summary.label_set.name}, {len(summary.label_set.labels)} labels\n"
        f"  checked    loaded as a worker would: logits within {summary.difference.largest:.1e} of the checkpoint's, "
        f"{summary.difference.agreement:.2%} of labels the same\n"
        f"  speed      {summary.difference.seconds:.2f} s for a small image on this machine's CPU; the checkpoint "
        f"takes {summary.difference.checkpoint_seconds:.2f} s\n"
        f"  serve it   {serve}"
    )


if __name__ == "__main__":
    sys.exit(main())
