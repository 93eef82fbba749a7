"""`lseg batch`: a manifest of many images, its shards through the model here or on a cluster, what became of them.

Each action is a subcommand of its own, with its options here and its work in `cli/batching/`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from lseg_serve.cli.manners import CommandError, Status, add_json
from lseg_serve.cli.segmentation.values import labels_of, share_of, template_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions, with the options of each."""
    group = parser.add_subparsers(dest="action", required=True, metavar="ACTION", title="actions")
    for name, (help_text, add) in _ACTIONS.items():
        own = group.add_parser(name, help=help_text, description=help_text.capitalize() + ".")
        add(own)
        add_json(own)


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked for.

    Raises:
        CommandError: the extra is not installed, or the action fails.
    """
    try:
        import_module("pyarrow")
        import_module("fsspec")
    except ImportError as error:
        raise CommandError(Status.FAULT, f"{error}; `pip install 'lseg-serve[batch]'` has what it needs") from error
    from lseg_serve.cli.batching.errors import told

    module = "running" if arguments.action == "run" else "tables"
    act: Callable[[argparse.Namespace], int] = getattr(
        import_module(f"lseg_serve.cli.batching.{module}"), arguments.action
    )
    with told():
        return act(arguments)


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", help="a folder, a URL such as s3://bucket/photos, or a Parquet of images")
    parser.add_argument(
        "--output", "-o", required=True, metavar="MANIFEST", help="the Parquet to write: a path or a URL"
    )
    parser.add_argument(
        "--shard-size", type=_count, default=1000, metavar="IMAGES", help="images of a shard (default: %(default)s)"
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", help="what `lseg batch plan` wrote")
    parser.add_argument("output", help="folder or URL for the results; what is done there is skipped")
    parser.add_argument(
        "--model",
        type=Path,
        default=Path("model_store/lseg.mar"),
        help="an archive of `lseg export`, or a checkpoint (default: %(default)s)",
    )
    parser.add_argument(
        "--labels",
        type=labels_of,
        help="by commas, synonyms by |; a JSON list; or @FILE (default: the model's own set)",
    )
    parser.add_argument(
        "--template",
        type=template_of,
        help='sentence that each word stands in, such as "a photo of a {}", or a JSON list (default: the model\'s)',
    )
    parser.add_argument("--mode", choices=("fast", "accurate"), help="(default: the model's)")
    parser.add_argument(
        "--threshold", type=share_of, default=0.0, help="softmax below which a pixel stays unlabelled, 0 to 1"
    )
    parser.add_argument(
        "--format", choices=("png", "rle", "embeddings"), default="png", help="of each result (default: %(default)s)"
    )
    parser.add_argument("--scores", action="store_true", help="also the mean softmax of each label")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--shard", type=_number, action="append", metavar="N", help="this shard alone; may be repeated")
    which.add_argument(
        "--part", type=_part, metavar="I/N", help="every N-th shard from the I-th on, I from 0: for job I of N alike"
    )
    parser.add_argument("--decoders", type=_count, default=0, help="processes that decode (default: half the cores)")
    parser.add_argument(
        "--ray",
        nargs="?",
        const="auto",
        metavar="ADDRESS",
        help="over a Ray cluster (default: the one that is up here)",
    )
    parser.add_argument(
        "--actor",
        type=_actor,
        metavar="KIND=N",
        help="what one worker of the cluster has: HPU=1, GPU=1 or CPU=N (default: a card each, else 2 cores)",
    )
    parser.add_argument(
        "--tries", type=_count, default=5, help="of a shard whose worker of the cluster is lost (default: %(default)s)"
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", help="what `lseg batch run` writes to")


def _add_retry(parser: argparse.ArgumentParser) -> None:
    _add_output(parser)
    parser.add_argument("--type", action="append", default=[], help="failed by this type of error; may be repeated")


_ACTIONS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "plan": ("write the manifest of a folder, an object store or a Parquet of images", _add_plan),
    "run": ("segment the shards of a manifest that are not done", _add_run),
    "status": ("tell how far an output is, and list the images that failed", _add_output),
    "merge": ("write one table of what became of all images", _add_output),
    "retry": ("let failed images be tried again by the next run", _add_retry),
}


def _count(text: str) -> int:
    number = _number(text)
    if not number:
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted; accepted: 1 or more")
    return number


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number; accepted: 0 or more")
    return int(text)


def _part(text: str) -> tuple[int, int]:
    first, _, every = text.partition("/")
    if not (first.isdecimal() and every.isdecimal() and int(first) < int(every)):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not accepted; accepted: I/N, such as 0/8 to 7/8")
    return int(first), int(every)


def _actor(text: str) -> tuple[str, int]:
    kind, _, count = text.partition("=")
    accepted = {"HPU": 1, "GPU": 1, "CPU": 1024}
    if kind not in accepted or not count.isdecimal() or not 1 <= int(count) <= accepted[kind]:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not accepted; accepted: HPU=1, GPU=1, or CPU=1 to CPU=1024")
    return kind, int(count)
