"""What `lseg evaluate` does: ade20k, folder, zero-shot, prepare."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm.contrib.logging import logging_redirect_tqdm

from lseg_serve.evaluation.errors import EvaluationError
from lseg_serve.evaluation.journal import Journal
from lseg_serve.evaluation.prepare import prepare_ade20k
from lseg_serve.evaluation.report import headline_rows, write_report
from lseg_serve.evaluation.runner import Server, Session, check_server, run
from lseg_serve.evaluation.samples import Sample, ade20k_samples, folder_samples, read_labels
from lseg_serve.evaluation.truth import TruthRule
from lseg_serve.evaluation.zero_shot import (
    FOLDS,
    Pair,
    check_pairs,
    coco_pairs,
    drawn,
    fss_pairs,
    pascal_pairs,
    write_zero_shot_report,
)
from lseg_serve.labelsets import TemplateError, as_json, name_of, read_templates


def evaluate(options: argparse.Namespace) -> int:
    """Do what the options name, and return 0 for done, or how many images failed.

    Raises:
        EvaluationError: it cannot be done, or not be trusted.
    """
    command: Callable[[argparse.Namespace], int] = options.evaluation
    with logging_redirect_tqdm():
        return command(options)


def _ade20k(options: argparse.Namespace) -> int:
    labels = read_labels(options.labels).labels
    samples = ade20k_samples(options.data, labels, options.split)
    return _evaluate(f"ADE20K {options.split}, labels {options.labels}", samples, options)


def _folder(options: argparse.Namespace) -> int:
    file = read_labels(options.labels)
    ignore = _numbers(options.ignore)
    if file.values is not None:
        rule = TruthRule.mapping(file.values, ignore)
    else:
        rule = TruthRule.offset(len(file.labels), options.offset, ignore)
    samples = folder_samples(
        options.images, options.truth, rule, file.labels, options.image_suffix, options.truth_suffix
    )
    return _evaluate(options.images.resolve().name, samples, options)


def _evaluate(title: str, samples: list[Sample], options: argparse.Namespace) -> int:
    samples = samples[: options.limit]
    title = f"{title}, {options.mode} mode"
    folder = options.output or Path("evaluation-results") / _file_name(title)
    labels = list(map(as_json, samples[0].labels))
    settings = _settings(options, title) | {"labels": labels, "rule": samples[0].rule.digest}
    journal, session = _measure(samples, folder, settings, options)
    summary = write_report(folder, title, samples, journal, settings, session)
    return _finish(folder, summary, headline_rows(summary), options.json)


def _zero_shot(options: argparse.Namespace) -> int:
    folds = range(FOLDS) if options.fold == "all" else [int(options.fold)]
    if options.dataset == "fss":
        classes = tuple(map(name_of, read_labels(str(options.classes)).labels)) if options.classes else None
        return _zero_shot_fold("FSS-1000", fss_pairs(options.data, classes), options)
    makers = {"pascal": ("Pascal-5i", pascal_pairs), "coco": ("COCO-20i", coco_pairs)}
    name, make = makers[options.dataset]
    return sum(_zero_shot_fold(f"{name} fold {fold}", make(options.data, fold), options) for fold in folds)


def _zero_shot_fold(title: str, pairs: list[Pair], options: argparse.Namespace) -> int:
    check_pairs(pairs)
    pairs = drawn(pairs, options.limit, options.seed)
    title = f"Zero-shot {title}, {options.mode} mode"
    folder = (options.output or Path("evaluation-results")) / _file_name(title)
    settings = _settings(options, title)
    journal, session = _measure([pair.sample for pair in pairs], folder, settings, options)
    summary = write_zero_shot_report(folder, title, pairs, journal, settings, session)
    rows = [("class IoU", f"{summary['class_iou']:.4f}"), ("FB-IoU", f"{summary['fb_iou']:.4f}")]
    return _finish(folder, summary, rows, options.json)


def _measure(
    samples: Sequence[Sample], folder: Path, settings: dict[str, Any], options: argparse.Namespace
) -> tuple[Journal, Session]:
    server = Server(options.url, options.model, options.mode, options.timeout, options.template)
    journal = Journal(folder, settings)
    left = sum(not journal.done(sample.name) for sample in samples)
    if left:
        check_server(server)
        logging.info("%d of %d images to do; results go to %s", left, len(samples), folder)
    return journal, run(samples, server, journal, folder / "masks", options.workers)


def _settings(options: argparse.Namespace, title: str) -> dict[str, Any]:
    """The settings that must be equal for results to be put together."""
    template = {} if options.template is None else {"template": list(options.template)}
    return {"title": title, "mode": options.mode, "model": options.model, **template}


def _finish(folder: Path, summary: dict[str, Any], rows: Sequence[tuple[str, str]], as_json: bool) -> int:
    """Print the figures, and return how many images failed."""
    failed = summary["failed"]
    if as_json:
        document = {"report": str(folder / "report.html"), **dict(rows), "failed": failed}
        print(json.dumps(document, ensure_ascii=False), flush=True)
    else:
        for text, value in rows:
            print(f"{value:>8}  {text}")
        print(f"report: {folder / 'report.html'}")
    if failed:
        print(f"incomplete: {len(failed)} images failed; the same command tries them again", file=sys.stderr)
    return len(failed)


def _prepare(options: argparse.Namespace) -> int:
    root = prepare_ade20k(options.data, may_download=options.download)
    print(json.dumps({"data": str(root), "complete": True}) if options.json else f"{root} is complete")
    return 0


def _numbers(text: str) -> list[int]:
    """The numbers of a text such as `255,0-6`."""
    numbers: list[int] = []
    try:
        for part in filter(None, text.split(",")):
            first, _, last = part.partition("-")
            numbers.extend(range(int(first), int(last or first) + 1))
        if not all(0 <= number < 1 << 16 for number in numbers):
            raise ValueError("outside 0..65535")
    except ValueError as error:
        raise EvaluationError(
            f"--ignore is {text!r} ({error}); accepted: numbers and ranges, such as 255,0-6"
        ) from error
    return numbers


def _file_name(title: str) -> str:
    return "-".join("".join(x if x.isalnum() or x in "-_" else " " for x in title.lower()).split())


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def _template(text: str) -> tuple[str, ...]:
    try:
        return read_templates(text)
    except TemplateError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _offset(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 1000:
        raise argparse.ArgumentTypeError(f"{text} is not 0 to 1000")
    return number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command, and of its own subcommands."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    common = _common_options()

    ade20k = commands.add_parser("ade20k", parents=[common], help="ADE20K's validation images, 150 labels")
    ade20k.add_argument("--data", type=Path, required=True, help="the folder ADEChallengeData2016, or the one it is in")
    ade20k.add_argument("--labels", choices=("ade20k", "ade20k-published"), default="ade20k", help="(default: clean)")
    ade20k.add_argument("--split", choices=("validation", "training"), default="validation")
    ade20k.set_defaults(evaluation=_ade20k)

    folder = commands.add_parser("folder", parents=[common], help="any folder of images with index PNGs")
    folder.add_argument("--images", type=Path, required=True)
    folder.add_argument("--truth", type=Path, required=True, help="PNGs of the same names")
    folder.add_argument(
        "--labels", required=True, help="a file (lines, JSON list, or JSON value: label) or a set's name"
    )
    folder.add_argument("--ignore", default="255", help="values that do not count, such as 255,0-6 (default: 255)")
    folder.add_argument("--offset", type=_offset, default=0, help="value of the first label; lower ones do not count")
    folder.add_argument("--image-suffix", default="", help="end of the image names, such as _leftImg8bit")
    folder.add_argument("--truth-suffix", default="", help="end of the truth names, such as _gtFine_labelIds")
    folder.set_defaults(evaluation=_folder)

    zero_shot = commands.add_parser("zero-shot", parents=[common], help='one class against "others"')
    zero_shot.add_argument("dataset", choices=("pascal", "coco", "fss"))
    zero_shot.add_argument("--data", type=Path, required=True, help="the folder of VOC2012, COCO2014 or FSS-1000")
    zero_shot.add_argument("--fold", choices=(*map(str, range(FOLDS)), "all"), default="all")
    zero_shot.add_argument("--classes", type=Path, help="FSS-1000: a file with the classes of the test list")
    zero_shot.add_argument("--seed", type=int, default=0, help="of the draw that --limit makes")
    zero_shot.set_defaults(evaluation=_zero_shot)

    prepare = commands.add_parser("prepare", help="check or fetch a data set")
    prepare.add_argument("dataset", choices=("ade20k",))
    prepare.add_argument("--data", type=Path, required=True, help="where the folder or the zip is, or will be")
    prepare.add_argument("--download", action="store_true", help="fetch the published zip where it is missing")
    prepare.add_argument("--json", action="store_true", help="the result as JSON")
    prepare.set_defaults(evaluation=_prepare)


def _common_options() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--url", default="http://127.0.0.1:8080", help="(default: %(default)s)")
    common.add_argument("--model", default="lseg", help="name on the server (default: %(default)s)")
    common.add_argument("--mode", choices=("fast", "accurate"), default="fast", help="(default: %(default)s)")
    common.add_argument(
        "--template",
        type=_template,
        help='sentence for each word, such as "a photo of a {}", or a JSON list (default: the server\'s)',
    )
    common.add_argument("--limit", type=_positive, help="only so many images")
    common.add_argument("--workers", type=_positive, default=2, help="requests at a time (default: %(default)s)")
    common.add_argument("--timeout", type=float, default=600, help="seconds for one response (default: %(default)s)")
    common.add_argument(
        "--output", type=Path, help="results (default: evaluation-results/...); goes on with what is there"
    )
    common.add_argument("--json", action="store_true", help="figures as JSON, one document a line")
    return common
