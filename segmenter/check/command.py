"""The command `check-device`: its options, and the report as text and as a JSON file."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from lseg_serve.segmenter.check.check import check_device
from lseg_serve.segmenter.check.requests import bundled
from lseg_serve.segmenter.check.variants import VARIANTS, try_variants
from lseg_serve.segmenter.config import Config
from lseg_serve.segmenter.config.document import read_document
from lseg_serve.segmenter.config.torchserve import ModelConfigFile
from lseg_serve.segmenter.devices import kind_at_hand
from lseg_serve.segmenter.segmenter import Segmenter


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--config", type=Path, help="a model-config.yaml; without it, the defaults and any device")
    parser.add_argument("--model", type=Path, help="an exported model or a checkpoint; without it, the bundled model")
    parser.add_argument("--requests", type=int, default=200, help="random requests after warm-up (default: 200)")
    parser.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="the report as JSON: in a file, or alone, in place of the text; no file is `-`",
    )
    parser.add_argument(
        "--variants", default="all", help=f"other settings to try on a Gaudi: all, none, or of {', '.join(VARIANTS)}"
    )


def run(options: argparse.Namespace) -> bool:
    """Check the device and print the report; whether all checks passed.

    Raises:
        SegmenterError: the configuration, the model or the device cannot be used.
        ValueError: an option is not accepted.
        OSError: the JSON file cannot be written.
    """
    if options.requests < 1:
        raise ValueError(f"--requests is {options.requests}; accepted: 1 or more")
    document = {} if options.config is None else read_document(options.config)
    config, batch_size = Config.from_mapping(document), ModelConfigFile.model_validate(document).batch_size
    model = options.model or bundled() / "weights" / "lseg-scenes.safetensors"
    # Before this process takes the card: each of them needs it.
    variants = try_variants(options.variants, document, model) if kind_at_hand(config) == "hpu" else {}
    segmenter = Segmenter.load(model, config, most_images=batch_size)
    on_cpu = Segmenter.load(model, config.replaced(device="cpu"))
    report = check_device(segmenter, on_cpu, options.requests, batch_size, variants)
    as_json = json.dumps(report.as_dict(), indent=2, ensure_ascii=False) + "\n"
    if options.json == "-":
        sys.stdout.write(as_json)
        return report.passed
    sys.stdout.write("\n".join(report.lines()) + "\n")
    if options.json is not None:
        Path(options.json).write_text(as_json, encoding="utf-8")
    return report.passed
