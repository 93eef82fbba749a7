"""The console script `lseg`, and the names `python -m export`, `python -m server` and the like of its subcommands.

A subcommand is a module with `add_arguments(parser)` and `run(arguments) -> int`. Its module is imported once its
arguments are to be read, so that `lseg --help` does not wait for torch.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

from lseg_serve.cli.manners import Status, begin, guarded

_STATUSES = "exit status: " + ", ".join(f"{int(one)} {one.name.lower().replace('_', ' ')}" for one in Status)


class _Module(Protocol):
    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


@dataclass(frozen=True)
class Command:
    """A subcommand: where it is, what it does, and an example of its arguments."""

    module: str  # below lseg_serve
    help: str
    example: str = ""

    def load(self) -> _Module:
        """Import the module."""
        return cast(_Module, import_module(f"lseg_serve.{self.module}"))


COMMANDS = {
    "fetch": Command("cli.fetch", "fetch a published checkpoint by its name", "demo_e200"),
    "export": Command("cli.export", "package a checkpoint for TorchServe", "demo_e200.ckpt --labels ade20k"),
    "serve": Command("cli.serve", "start a TorchServe on this machine, until the model is ready"),
    "run": Command("cli.run", "the same in the foreground, as a container does, until it is told to end"),
    "stop": Command("cli.stop", "stop that server and everything it started"),
    "web": Command("cli.web", "serve the page, and the server if it is not up", "--port 9000"),
    "label-studio": Command(
        "cli.label_studio", "label images in Label Studio, as its ML backend", "--label-studio http://localhost:8200"
    ),
    "segment": Command("cli.segment", "segment images with a running server", 'photos/ --labels "cat,other" -o masks'),
    "batch": Command("cli.batch", "segment very many images without a server", "plan photos/ -o photos.parquet"),
    "describe": Command("cli.describe", "what a running server tells of its model", "--json"),
    "scale": Command("cli.scale", "change the number of workers", "2"),
    "evaluate": Command("cli.evaluate", "measure accuracy at the endpoint", "ade20k --data data"),
    "bench": Command("cli.bench", "measure speed and memory", "overhead --runs 20"),
    "buckets": Command("cli.buckets", "the shapes that a Gaudi would compile", "--config config/model-config.yaml"),
    "check-device": Command("cli.check_device", "try the device here, and print a report", "--requests 20"),
}
# Of use to those who write documents alone: `python -m segmenter configuration`.
_CONFIGURATION = Command("cli.configuration", "every key of model-config.yaml, as Markdown", "docs/configuration.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `lseg` with `arguments`, or with the command line's, and return the exit status."""
    parser = _Parser(prog="lseg", description="LSeg, segmentation by words: from a checkpoint to masks.")
    parser.epilog = f"`lseg COMMAND --help` has the options and an example.\n{_STATUSES}"
    return _run_group(parser, COMMANDS, arguments)


def run_as(prog: str, name: str, arguments: Sequence[str] | None = None) -> int:
    """Run the subcommand `name` under the name `prog`, such as `python -m export`, and return the exit status."""
    command = COMMANDS[name]
    parser = _Parser(prog=prog, command=command, description=command.help)
    return _guarded(prog, command, parser.parse_args(arguments), arguments)


def run_segmenter(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m segmenter`, and return the exit status."""
    parser = _Parser(prog="python -m segmenter", description="Shapes, keys and devices.")
    commands = {name: COMMANDS[name] for name in ("buckets", "check-device")}
    return _run_group(parser, {**commands, "configuration": _CONFIGURATION}, arguments)


def run_server(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m server`, whose --run-folder may stand before its commands, and return the exit status."""
    from lseg_serve.cli.serve import add_run_folder

    parser = _Parser(prog="python -m server", description="Run TorchServe on this machine.")
    add_run_folder(parser)
    return _run_group(parser, {"start": COMMANDS["serve"], "run": COMMANDS["run"], "stop": COMMANDS["stop"]}, arguments)


class _Parser(argparse.ArgumentParser):
    """A parser that asks its command for arguments when there are any to read."""

    def __init__(self, *, command: Command | None = None, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self._pending: Callable[[], None] | None = None
        if command is not None:
            self.epilog = f"example:\n  {self.prog} {command.example}".rstrip()
            self._pending = lambda: command.load().add_arguments(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending()
        return super().parse_known_args(args, namespace)


def _run_group(parser: _Parser, commands: Mapping[str, Command], arguments: Sequence[str] | None) -> int:
    group = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND", title="commands")
    for name, command in commands.items():
        group.add_parser(
            name, help=command.help, description=f"{command.help[:1].upper()}{command.help[1:]}.", command=command
        )
    read = parser.parse_args(arguments)
    return _guarded(f"{parser.prog} {read.subcommand}", commands[read.subcommand], read, arguments)


def _guarded(prog: str, command: Command, read: argparse.Namespace, arguments: Sequence[str] | None) -> int:
    if arguments is None:  # the process is this command's own
        begin()
    return guarded(prog, command.load().run, read)
