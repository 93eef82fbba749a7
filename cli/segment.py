"""`lseg segment`: images in, masks or another format out, by a running server."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from lseg_serve.cli.endpoint import add_endpoint, answered, seconds, status_of
from lseg_serve.cli.files import part_of
from lseg_serve.cli.manners import CommandError, Status, add_json, note, progress, write_json
from lseg_serve.cli.segmentation.inputs import Source, find_sources
from lseg_serve.cli.segmentation.record import Record
from lseg_serve.cli.segmentation.work import EMBEDDINGS, SUFFIXES, Asking, Outcome, bytes_of, read, work
from lseg_serve.client import ClientError
from lseg_serve.labelsets import (
    LabelFileError,
    LabelTextError,
    TemplateError,
    as_json,
    label_of,
    parse_labels,
    read_label_file,
    read_templates,
    split_labels,
)

_STDOUT = Path("-")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("images", nargs="+", help="files, folders and all below them, patterns, or - (standard input)")
    parser.add_argument(
        "--labels",
        type=labels_of,
        help="by commas, synonyms by |; a JSON list; or @FILE (default: the model's own set)",
    )
    parser.add_argument(
        "--template",
        type=templates_of,
        help='sentence that each word stands in, such as "a photo of a {}", or a JSON list (default: the server\'s)',
    )
    parser.add_argument("--format", choices=tuple(SUFFIXES), default="png", help="(default: %(default)s)")
    parser.add_argument(
        "--output", "-o", type=Path, default=Path("masks"), help="folder, or - for one result (default: %(default)s)"
    )
    parser.add_argument("--mode", choices=("fast", "accurate"), help="(default: the server's)")
    parser.add_argument("--threshold", type=share_of, help="softmax below which a pixel stays unlabelled, 0 to 1")
    parser.add_argument("--alpha", type=share_of, help="strength of the colours in overlay and zip, 0 to 1")
    parser.add_argument("--geometry", choices=("rle", "polygons", "label_studio"), help="outlines in json")
    parser.add_argument("--bands", help="which bands of the image are red, green and blue, such as 4,3,2")
    parser.add_argument("--range", help="which values of the image are black and white, such as 0,4095")
    parser.add_argument("--jobs", type=_jobs, default=2, help="requests at once (default: %(default)s)")
    parser.add_argument("--again", action="store_true", help="make anew what is done already")
    parser.add_argument(
        "--patience",
        type=seconds,
        default=300,
        help="seconds that the server may be away or overloaded (default: %(default)s)",
    )
    add_endpoint(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Segment what is named and not done yet."""
    _refuse_options_of_masks(arguments)
    to_stdout = arguments.output == _STDOUT
    sources = find_sources(arguments.images, None if to_stdout else arguments.output)
    if to_stdout:
        return _one(arguments, sources)
    record = Record(arguments.output, _options(arguments) | {"format": arguments.format}, again=arguments.again)
    try:
        return _all([one for one in sources if not _is_result(record, one)], arguments, record)
    finally:
        record.close()


def _one(arguments: argparse.Namespace, sources: list[Source]) -> int:
    """Write the result of the only image to standard output."""
    if len(sources) != 1:
        raise CommandError(Status.USAGE, f"--output - takes one image, not {len(sources)}; accepted: a folder")
    if sys.stdout.isatty():
        raise CommandError(Status.USAGE, "--output - would write a file to the terminal; send it elsewhere by > or |")
    asking = _asking(arguments)
    with answered(), asking.client(1) as client:
        answer = asking.once(client, read(sources[0]))
    sys.stdout.buffer.write(bytes_of(answer))
    return Status.OK


def _all(sources: list[Source], arguments: argparse.Namespace, record: Record) -> int:
    record.place(sources, SUFFIXES[arguments.format])
    counts: Counter[str] = Counter()
    left, failures = [], []
    for source in sources:
        if record.is_done(source):
            counts["skipped"] += 1
            write_json(Outcome(source, "skipped", record.output_of(source)).document())
        else:
            part_of(record.output_of(source)).unlink(missing_ok=True)  # of a command that was killed
            left.append(source)
    start = time.perf_counter()
    interrupted = True
    try:
        with answered(), progress(len(sources), counts["skipped"], "image") as bar:
            for outcome in work(left, _asking(arguments), record, arguments.jobs):
                counts[outcome.status] += 1
                write_json(outcome.document())
                bar.update()
                if outcome.error is not None:
                    failures.append(outcome.error)
                    note(f"{outcome.source.shown}: {outcome.error}")
        interrupted = False
    finally:
        summary = {**{name: counts[name] for name in ("done", "skipped", "failed")}, "images": len(sources)}
        _summarise(summary, time.perf_counter() - start, arguments, interrupted)
    return _status(failures, counts)


def _status(failures: list[Exception], counts: Counter[str]) -> Status:
    """Of all images: a server that stays away says more than that some are done."""
    if not failures:
        return Status.OK
    statuses = {status_of(one) if isinstance(one, ClientError) else Status.REFUSED for one in failures}
    if Status.UNREACHABLE in statuses:
        return Status.UNREACHABLE
    if counts["done"] or counts["skipped"]:
        return Status.PARTLY_FAILED
    return Status.REFUSED if Status.REFUSED in statuses else Status.FAULT


def _summarise(summary: dict[str, int], elapsed: float, arguments: argparse.Namespace, interrupted: bool) -> None:
    if arguments.json:
        write_json({"summary": {**summary, "seconds": round(elapsed, 3)}}, sys.stderr)
        return
    left = summary["images"] - summary["done"] - summary["skipped"] - summary["failed"]
    parts = [f"{summary['done']} done", f"{summary['skipped']} done before", f"{summary['failed']} failed"]
    parts += [f"{left} not begun"] if left else []
    note(f"{summary['images']} images: {', '.join(parts)}; {elapsed:.1f} s; results in {arguments.output}")
    if interrupted or left or summary["failed"]:
        note("the same command goes on from here")


def _is_result(record: Record, source: Source) -> bool:
    return source.path is not None and record.is_result(source.path)


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a result depends on, beside the image."""
    names = ("model", "labels", "template", "mode", "threshold", "alpha", "geometry", "bands", "range")
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}


def _refuse_options_of_masks(arguments: argparse.Namespace) -> None:
    """Refuse what embeddings would not heed."""
    given = [name for name in ("threshold", "alpha", "geometry") if getattr(arguments, name) is not None]
    if arguments.format == EMBEDDINGS and given:
        raise CommandError(
            Status.USAGE,
            f"--{given[0]} is given with --format {EMBEDDINGS}, which has no masks; accepted: another format, or with "
            "this one --labels, --template, --mode, --bands and --range",
        )


def _asking(arguments: argparse.Namespace) -> Asking:
    fields = {name: value for name, value in _options(arguments).items() if name not in ("model", "labels")}
    return Asking(
        arguments.url,
        arguments.model,
        arguments.timeout,
        arguments.patience,
        arguments.labels,
        arguments.format,
        fields,
    )


def labels_of(text: str) -> list[Any]:
    """The labels of an option's value, as JSON holds them, for requests and records.

    Raises:
        argparse.ArgumentTypeError: it is no list of labels.
    """
    try:
        if text.startswith("@"):
            return list(map(as_json, parse_labels(read_label_file(text[1:]), text[1:])))
        labels = [as_json(label_of(item)) for item in split_labels(text)]
    except LabelFileError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    except LabelTextError as error:
        raise argparse.ArgumentTypeError(f"{text[:60]!r}: {error}") from error
    if not labels:
        raise argparse.ArgumentTypeError(f"{text!r} holds no label; accepted: texts")
    return labels


def templates_of(text: str) -> list[str]:
    """The templates of an option's value.

    Raises:
        argparse.ArgumentTypeError: it is none, or one has no place for the word.
    """
    try:
        return list(read_templates(text))
    except TemplateError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def share_of(text: str) -> float:
    """An option's value from 0 to 1.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted; accepted: 0 to 1")
    return number


def _jobs(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of requests; accepted: 1 to 64")
    return int(text)
