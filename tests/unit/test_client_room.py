"""The client as a room: what it imports, which library stays inside it, and whether its page says what it raises."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from typing import Any

import pytest

from lseg_serve import client
from lseg_serve.client import AsyncLSegClient, ClientError, LSegClient, Refused
from tests.conftest import PROJECT

TREE = re.compile(r"^(?P<branch>[│├└── ]*)(?P<name>[A-Z]\w+)(?: {2,}|$)", re.MULTILINE)


def _tree(text: str) -> dict[str, str]:
    """Each error of a drawn tree with the one above it."""
    drawing = text.split("```\nClientError\n")[1].partition("```")[0]
    parents: dict[str, str] = {}
    above = ["ClientError"]
    for match in TREE.finditer(drawing):
        depth = len(match["branch"]) // 4
        above = [*above[:depth], match["name"]]
        parents[match["name"]] = above[depth - 1]
    return parents


def test_the_page_draws_the_errors_as_they_are() -> None:
    errors = [value for value in vars(client).values() if inspect.isclass(value) and issubclass(value, ClientError)]
    bases = {error.__name__: error.__base__.__name__ for error in errors if error is not ClientError and error.__base__}
    assert len(bases) == 8
    for text in ((PROJECT / "docs" / "client.md").read_text(encoding="utf-8"), str(client.errors.__doc__)):
        assert _tree(text) == bases


def test_the_page_names_every_argument_and_answer() -> None:
    page = (PROJECT / "docs" / "client.md").read_text(encoding="utf-8")
    arguments = list(inspect.signature(LSegClient).parameters)
    rules = list(inspect.signature(client.Retries).parameters)
    answers = ["Mask", "Picture", "Report", "Scores", "Parts", "Description"]
    assert [name for name in (*arguments, *rules, *answers, *client.FORMATS) if f"`{name}`" not in page] == []


def _methods(one: type) -> dict[str, Any]:
    """The arguments of each public method."""
    found = {name: value for name, value in vars(one).items() if name[0] != "_" and inspect.isfunction(value)}
    return {"": inspect.signature(one).parameters} | {
        name: inspect.signature(value).parameters for name, value in found.items()
    }


def test_both_clients_have_the_same_methods() -> None:
    assert _methods(LSegClient) == _methods(AsyncLSegClient)
    assert set(_methods(LSegClient)) == {
        *("", "close", "segment", "embed", "embed_points", "embed_labels"),
        *("ping", "describe", "workers", "ready", "scale"),
    }


def test_the_client_needs_no_torch() -> None:
    program = "import sys, lseg_serve.client; print([name for name in ('torch', 'timm', 'cv2') if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "[]", run.stderr


def test_only_two_files_know_the_library_below() -> None:
    users = [path.name for path in (PROJECT / "client").glob("*.py") if "httpx2" in path.read_text(encoding="utf-8")]
    assert sorted(users) == ["messages.py", "transport.py"]


@pytest.mark.parametrize("name", client.__all__)
def test_what_is_public_speaks_of_no_other_library(name: str) -> None:
    value = getattr(client, name)
    members = [value, *(vars(value).values() if inspect.isclass(value) else ())]
    for member in members:
        if callable(member) and hasattr(member, "__annotations__"):
            assert "httpx" not in str(member.__annotations__)


def test_an_error_is_shown_as_a_terminal_can_bear_it() -> None:
    assert str(Refused(400, "label '\x1b[2J'")) == r"400: label '\x1b[2J'"
    assert Refused(400, "label '\x1b[2J'").message == "label '\x1b[2J'"
