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
from lseg_serve.cli.segmentation import coco
from lseg_serve.cli.segmentation.formats import asked_format, document_of, refuse_options
from lseg_serve.cli.segmentation.inputs import Source, find_sources
from lseg_serve.cli.segmentation.record import Record
from lseg_serve.cli.segmentation.values import jobs_of, labels_of, pixels_of, share_of, template_of
from lseg_serve.cli.segmentation.work import SUFFIXES, Asking, Outcome, bytes_of, read, work
from lseg_serve.client import ClientError

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
        type=template_of,
        help='sentence that each word stands in, such as "a photo of a {}", or a JSON list (default: the server\'s)',
    )
    parser.add_argument("--format", choices=(*SUFFIXES, *coco.FILES), default="png", help="(default: %(default)s)")
    parser.add_argument(
        "--output", "-o", type=Path, default=Path("masks"), help="folder, or - for one result (default: %(default)s)"
    )
    parser.add_argument("--mode", choices=("fast", "accurate"), help="(default: the server's)")
    parser.add_argument("--threshold", type=share_of, help="softmax below which a pixel stays unlabelled, 0 to 1")
    parser.add_argument("--alpha", type=share_of, help="strength of the colours in overlay and zip, 0 to 1")
    parser.add_argument("--geometry", choices=("rle", "polygons", "label_studio"), help="outlines in json")
    parser.add_argument("--tolerance", type=pixels_of, help="pixels by which polygons may leave the outline, 0 to 100")
    parser.add_argument("--parts", choices=("together", "apart"), help="in coco, detached parts: one object or several")
    parser.add_argument(
        "--categories", type=Path, help="a COCO file whose ids of categories, and of images, the document has"
    )
    parser.add_argument("--bands", help="which bands of the image are red, green and blue, such as 4,3,2")
    parser.add_argument("--range", help="which values of the image are black and white, such as 0,4095")
    parser.add_argument("--jobs", type=jobs_of, default=2, help="requests at once (default: %(default)s)")
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
    refuse_options(arguments)
    to_stdout = arguments.output == _STDOUT
    document = document_of(arguments)
    sources = find_sources(arguments.images, None if to_stdout else arguments.output)
    if to_stdout:
        return _one(arguments, sources)
    record = Record(arguments.output, _options(arguments) | {"format": asked_format(arguments)}, again=arguments.again)
    try:
        return _all([one for one in sources if not _is_result(record, one, document)], arguments, record, document)
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


def _all(sources: list[Source], arguments: argparse.Namespace, record: Record, document: coco.Document | None) -> int:
    if document is not None:
        document.image_ids(sources)  # refused before anything is asked
    record.place(sources, SUFFIXES[asked_format(arguments)])
    counts: Counter[str] = Counter()
    left, failures, failed = [], [], set()
    for source in sources:
        if record.is_done(source):
            counts["skipped"] += 1
            write_json(Outcome(source, "skipped", record.output_of(source)).document())
        else:
            part_of(record.output_of(source)).unlink(missing_ok=True)  # of a command that was killed
            left.append(source)
    start = time.perf_counter()
    interrupted, ended = True, False
    try:
        with answered(), progress(len(sources), counts["skipped"], "image") as bar:
            for outcome in work(left, _asking(arguments), record, arguments.jobs):
                counts[outcome.status] += 1
                write_json(outcome.document())
                bar.update()
                ended |= outcome.ends_all
                if outcome.error is not None:
                    failures.append(outcome.error)
                    failed.add(outcome.source)
                    note(f"{outcome.source.shown}: {outcome.error}")
        interrupted = False
    finally:
        summary = {**{name: counts[name] for name in ("done", "skipped", "failed")}, "images": len(sources)}
        _summarise(summary, time.perf_counter() - start, arguments, interrupted)
    if document is not None and not ended and sum(counts.values()) == len(sources):
        _write_document(document, [one for one in sources if one not in failed], record)
    return _status(failures, counts)


def _write_document(document: coco.Document, sources: list[Source], record: Record) -> None:
    if sources:
        path = document.write(sources, record)
        write_json({"document": str(path), "images": len(sources), "objects": document.objects})


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


def _is_result(record: Record, source: Source, document: coco.Document | None) -> bool:
    if source.path is None:
        return False
    pictures = (record.folder / coco.PNGS).absolute()
    is_picture = document is not None and source.path.absolute().is_relative_to(pictures)
    return is_picture or record.is_result(source.path)


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a result depends on, beside the image."""
    names = (
        "model",
        "labels",
        "template",
        "mode",
        "threshold",
        "alpha",
        "geometry",
        "tolerance",
        "parts",
        "bands",
        "range",
    )
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}


def _asking(arguments: argparse.Namespace) -> Asking:
    fields = {name: value for name, value in _options(arguments).items() if name not in ("model", "labels")}
    return Asking(
        arguments.url,
        arguments.model,
        arguments.timeout,
        arguments.patience,
        arguments.labels,
        asked_format(arguments),
        fields,
    )
