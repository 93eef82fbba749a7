"""What `lseg segment` asks for by each format, and which options go with it."""

from __future__ import annotations

import argparse

from lseg_serve.cli.manners import CommandError, Status
from lseg_serve.cli.segmentation import coco
from lseg_serve.cli.segmentation.categories import read_categories
from lseg_serve.cli.segmentation.inputs import STDIN
from lseg_serve.cli.segmentation.work import EMBEDDINGS
from lseg_serve.labelsets import label_of, name_of


def asked_format(arguments: argparse.Namespace) -> str:
    """The format that the server is asked for."""
    return "coco" if arguments.format in coco.FILES else str(arguments.format)


def document_of(arguments: argparse.Namespace) -> coco.Document | None:
    """The document of all images, where one is wanted; the user's categories are the labels where none are given."""
    if arguments.format not in coco.FILES:
        return None
    categories = None if arguments.categories is None else read_categories(arguments.categories)
    if categories is None:
        return coco.Document(arguments.format, None, None)
    arguments.labels = arguments.labels or categories.names
    names = [name_of(label_of(item)) for item in arguments.labels]
    return coco.Document(arguments.format, categories, categories.ids_of(names))


def refuse_options(arguments: argparse.Namespace) -> None:
    """Refuse what a format would not heed, or has no place for."""
    if arguments.format not in coco.FILES and arguments.categories is not None:
        raise CommandError(
            Status.USAGE, f"--categories is given with --format {arguments.format}; accepted: {', '.join(coco.FILES)}"
        )
    if arguments.format in coco.FILES and str(arguments.output) == STDIN:
        raise CommandError(
            Status.USAGE, f"--format {arguments.format} writes a folder; accepted: --format coco for one image"
        )
    if arguments.format == coco.STUFF and arguments.parts == "apart":
        raise CommandError(
            Status.USAGE, "--parts apart is given with coco-stuff, where a label is one object; accepted: together"
        )
    masks = ("threshold", "alpha", "geometry", "tolerance", "parts")
    given = [name for name in masks if getattr(arguments, name) is not None]
    if arguments.format == EMBEDDINGS and given:
        raise CommandError(
            Status.USAGE,
            f"--{given[0]} is given with --format {EMBEDDINGS}, which has no masks; accepted: another format, or with "
            "this one --labels, --template, --mode, --bands and --range",
        )
