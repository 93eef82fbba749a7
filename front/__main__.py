"""The command `python -m front`: make keys, write nginx's configuration, run the checker that nginx asks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from lseg_serve.front.keys import KeyFile, KeyFileError, add_key
from lseg_serve.front.render import KINDS, MEANINGS, FrontSettings, SettingError, render


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit status: 0, 1 where it failed, 2 for a wrong command line."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (KeyFileError, SettingError, OSError) as error:
        print(f"{options.prog}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m front", description="What stands before a TorchServe.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    key = commands.add_parser("key", help="make a key, write its hash to a file, and print it, this once")
    key.add_argument("name", help="of the client")
    key.add_argument("--keys", type=Path, required=True, metavar="FILE", help="made where it does not exist")
    key.set_defaults(run=_key, prog=key.prog)

    config = commands.add_parser("render", help="write nginx's configuration")
    config.add_argument("--output", type=Path, metavar="FILE", help="(default: standard output)")
    for one in fields(FrontSettings):
        default = None if one.default is MISSING else one.default
        shown = MEANINGS[one.name] + (f" (default: {default})" if default else "")
        config.add_argument(
            f"--{one.name.replace('_', '-')}",
            required=default is None, default=default, help=shown, metavar=KINDS[one.name][0],
        )  # fmt: skip
    config.set_defaults(run=_render, prog=config.prog)

    check = commands.add_parser("check", help="run the checker that nginx asks, until it is interrupted")
    check.add_argument("--keys", type=Path, required=True, metavar="FILE", help="read again whenever it changes")
    check.add_argument("--host", default="127.0.0.1", help="to listen on (default: %(default)s)")
    check.add_argument("--port", type=int, default=8070, help="(default: %(default)s)")
    check.add_argument(
        "--management-url", default="http://127.0.0.1:8081", metavar="URL", help="(default: %(default)s)"
    )
    check.add_argument("--model", action="append", metavar="NAME", help="a public model; repeatable (default: lseg)")
    check.set_defaults(run=_check, prog=check.prog)
    return parser


def _key(options: argparse.Namespace) -> int:
    print(add_key(options.keys, options.name))
    return 0


def _render(options: argparse.Namespace) -> int:
    text = render(FrontSettings(**{one.name: getattr(options, one.name) for one in fields(FrontSettings)}))
    if options.output is None:
        print(text, end="")
    else:
        options.output.write_text(text, encoding="utf-8")
    return 0


def _check(options: argparse.Namespace) -> int:
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        print(f"{options.prog}: without {missing[0]}; pip install 'lseg-serve[web]'", file=sys.stderr)
        return 1
    import uvicorn

    from lseg_serve.front.checker import create_checker
    from lseg_serve.front.models import Models

    models = Models(options.management_url, tuple(options.model or ("lseg",)))
    app = create_checker(KeyFile(options.keys), models, version("lseg-serve"))
    uvicorn.run(
        app, host=options.host, port=options.port, http="h11", ws="none", log_level="warning", access_log=False,
        server_header=False,
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
