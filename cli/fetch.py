"""`lseg fetch`: a published checkpoint by its name, downloaded, remembered by its sha256, and read as a check."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from lseg_serve.cli.download import download
from lseg_serve.cli.manners import CommandError, Status, add_json, note, write, write_json
from lseg_serve.cli.published import LICENSE, PUBLISHED, UNREACHABLE, Published
from lseg_serve.cli.remembered import check_remembered, memory_of, remember, sha256_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("name", nargs="?", help="of the checkpoint; without it, all of them are listed")
    parser.add_argument(
        "--output", "-o", type=Path, default=Path("checkpoints"), help="folder for it (default: %(default)s)"
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Fetch what is not there, check what is, and print its path."""
    if arguments.name is None:
        _list(arguments)
        return Status.OK
    published = _named(arguments.name)
    target: Path = arguments.output / f"{published.name}.ckpt"
    digest, described = (_check_again if target.exists() else _fetch)(published, target)
    note(f"{target}: {described}\n  sha256 {digest}, remembered in {memory_of(target).name}\n  licence: {LICENSE}")
    document = {"path": str(target), "sha256": digest, "read": described, **asdict(published), "license": LICENSE}
    write(arguments, document, str(target))
    return Status.OK


def _named(name: str) -> Published:
    if name in UNREACHABLE:
        raise CommandError(Status.REFUSED, f"{name} cannot be fetched: {UNREACHABLE[name]}")
    if name not in PUBLISHED:
        raise CommandError(
            Status.REFUSED, f"{name!r} is no published checkpoint, and no file; accepted: {', '.join(PUBLISHED)}"
        )
    return PUBLISHED[name]


def _list(arguments: argparse.Namespace) -> None:
    for one in PUBLISHED.values():
        if arguments.json:
            write_json({**asdict(one), "license": LICENSE})
        else:
            figure = "" if one.figure is None else f"{one.figure:.1f}"
            print(f"{one.name:<17} {one.network:<26} {figure:>5}  {one.trained_on}")


def _check_again(published: Published, target: Path) -> tuple[str, str]:
    """The sha256 of a file that is there, the one that is remembered or a new one to remember, and what it holds."""
    digest = sha256_of(target)
    known = check_remembered(target, digest)
    described = _read(target, published)
    if not known:
        remember(target, digest)
    return digest, described


def _fetch(published: Published, target: Path) -> tuple[str, str]:
    """Download to a name of its own, and give the file its name only once it has passed its checks.

    Returns:
        Its sha256, and what it holds.
    """
    aside = target.with_name(f"{target.name}.download")
    note(f"fetching {published.name} ({published.network}) from {published.url}")
    download(published.url, aside)
    digest = sha256_of(aside)
    known = check_remembered(target, digest)
    try:
        described = _read(aside, published)
    except CommandError as error:
        refused = target.with_name(f"{target.name}.refused")
        aside.replace(refused)
        raise CommandError(error.status, f"{error}; it was kept as {refused}, and its sha256 is {digest}") from error
    aside.replace(target)
    if not known:
        remember(target, digest)
    return digest, described


def _read(path: Path, published: Published) -> str:
    """What network a file holds, in words. Nothing in the file is run, and nothing is exported.

    Raises:
        CommandError: it is no checkpoint that LSeg can be built from, or one of another network than was published.
    """
    from lseg_serve.model import CheckpointError, LSeg, read_checkpoint
    from lseg_serve.model.architecture import preset_name

    try:
        net = LSeg.from_tensors(read_checkpoint(path))
    except CheckpointError as error:
        raise CommandError(Status.REFUSED, str(error)) from error
    architecture = net.architecture
    if architecture.backbone != published.backbone:
        raise CommandError(
            Status.REFUSED, f"{path}: holds a {architecture.backbone}, and {published.name} is a {published.network}"
        )
    millions = sum(parameter.numel() for parameter in net.parameters()) / 1e6
    name = preset_name(architecture) or f"{architecture.backbone} of width {architecture.width}"
    return f"{name}, {millions:.1f} M parameters"
