"""`lseg serve`: start a TorchServe on this machine, and return when the model is ready."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from lseg_serve.cli.manners import CommandError, Status, add_json, note, write
from lseg_serve.server.addresses import LARGEST_PORT, Addresses, port_option
from lseg_serve.server.environment import HOME
from lseg_serve.server.errors import ServerError, StartFailedError
from lseg_serve.server.local import LocalServer
from lseg_serve.server.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_server(parser)
    add_json(parser)


def add_server(parser: argparse.ArgumentParser) -> None:
    """The options that say what is served, and where; `configured` reads them."""
    add_run_folder(parser)
    parser.add_argument("--model-store", type=Path, default=HOME / "model_store", help="folder of archives")
    parser.add_argument("--model", type=_model, default="lseg=lseg.mar", help="name=file (default: %(default)s)")
    for name, address in Addresses().named().items():
        parser.add_argument(
            port_option(name),
            dest=f"{name}_port",
            type=port_number,
            metavar="PORT",
            help=f"(default: of the environment or else of config.properties, where it is {address.port})",
        )


def add_run_folder(parser: argparse.ArgumentParser) -> None:
    """The option `--run-folder`; `run_folder_of` reads it."""
    parser.add_argument(
        "--run-folder",
        type=Path,
        default=argparse.SUPPRESS,
        help="logs, sockets, process id; one for each server (default: .run)",
    )


def run_folder_of(arguments: argparse.Namespace) -> Path:
    """The folder that `--run-folder` names, or the default."""
    return Path(getattr(arguments, "run_folder", HOME / ".run"))


def run(arguments: argparse.Namespace) -> int:
    """Start the server as the arguments say."""
    name = arguments.model.partition("=")[0]
    try:
        server = configured(arguments)
        note(f"waiting for the model {name} (logs in {server.logs})")
        server.serve(arguments.model_store, arguments.model)
    except (ServerError, OSError) as error:
        raise not_started(error) from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt("start interrupted; the server is stopped") from None
    url = f"{server.addresses.inference_url}/predictions/{name}"
    document = {
        "url": server.addresses.inference_url,
        "management_url": server.addresses.management_url,
        "model": name,
        "run_folder": str(server.run_folder),
    }
    write(arguments, document, f"serving {url}; stop it with `lseg stop`")
    return Status.OK


def not_started(error: ServerError | OSError, what: str = "server not started") -> CommandError:
    """What a command ends with whose server does not start: a fault, or a refusal of what was given."""
    fault = isinstance(error, StartFailedError | OSError)
    return CommandError(Status.FAULT if fault else Status.REFUSED, f"{what}: {error}")


def configured(arguments: argparse.Namespace) -> LocalServer:
    """The server that the options, the environment and the configuration file describe, in this order.

    Raises:
        ServerError: an address is not accepted.
        OSError: the configuration file cannot be read.
    """
    config, settings = configuration()
    ports = {name: getattr(arguments, f"{name}_port") for name in Addresses().named()}
    return LocalServer(run_folder_of(arguments), Addresses.configured(settings).with_ports(ports), config)


def configuration() -> tuple[Path, Settings]:
    """TorchServe's configuration file on this machine, and what it and the environment set.

    Raises:
        OSError: the file cannot be read.
    """
    config = Path(os.environ.get("TS_CONFIG_FILE") or LocalServer.config)
    return config, Settings.read(config, os.environ)


def _model(text: str) -> str:
    if not re.fullmatch(r"[^=\s]+=\S.*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a model; accepted: name=file, such as lseg=lseg.mar")
    return text


def port_number(text: str) -> int:
    """A port on the command line."""
    if not text.isdecimal() or not 1 <= int(text) <= LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; a port is a number from 1 to {LARGEST_PORT}")
    return int(text)
