"""The documents: their blocks run against a real server with the bundled model, their links lead somewhere.

docs/development.md says how a block names the output it has, or why it cannot run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import yaml

from lseg_serve.segmenter import Config, SegmenterError
from lseg_serve.server import LocalServer
from tests.conftest import PROJECT
from tests.serving.conftest import free_addresses
from tests.support.documents import RUNNABLE, Block, anchors_of, blocks_of, json_matches, links_of, text_matches

README_LINES = 150
RUN = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
LINKED = [
    *RUN,
    PROJECT / "CHANGELOG.md",
    PROJECT / "CONTRIBUTING.md",
    PROJECT / "demo" / "CARD.md",
    PROJECT / "bench" / "README.md",
    PROJECT / "evaluation" / "README.md",
    PROJECT / "model_store" / "README.md",
    PROJECT / "tests" / "gaudi" / "README.md",
]
BLOCKS = [block for path in RUN for block in blocks_of(path, PROJECT) if block.language in RUNNABLE]
# Of the checkout, what a copy of it does without.
_NOT_COPIED = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "build", "logs", "data", "shared", "evaluation-results", "mask.png", "*.mar",
)  # fmt: skip


@dataclass(frozen=True)
class Workplace:
    """A copy of the checkout in which blocks run, and the server that they reach."""

    folder: Path
    server: LocalServer

    def run(self, *command: str, program: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in the copy as a user would in a checkout with its environment on."""
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder / "src"),
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.run(
            command, cwd=self.folder, env=environment, input=self.here(program), capture_output=True, text=True,
            check=False, timeout=600,
        )  # fmt: skip

    def here(self, text: str) -> str:
        """`text` with the addresses of TorchServe's defaults replaced by those of this server."""
        addresses = self.server.addresses
        ports = {8080: addresses.inference.port, 8081: addresses.management.port, 8082: addresses.metrics.port}
        ports |= {7070: addresses.grpc_inference.port, 7071: addresses.grpc_management.port}
        return re.sub(r"127\.0\.0\.1:(\d+)", lambda m: f"127.0.0.1:{ports.get(int(m[1]), m[1])}", text)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """The copy, with the bundled model exported by the README's way, and its server."""
    folder = tmp_path_factory.mktemp("documents") / "lseg-serve"
    shutil.copytree(PROJECT, folder, symlinks=True, ignore=_NOT_COPIED)
    server = LocalServer(folder / ".run", free_addresses(), environment={"OMP_NUM_THREADS": "1"})
    place = Workplace(folder, server)
    export = ["demo/weights/lseg-scenes.safetensors", "--config", "demo/model-config.yaml"]
    done = place.run(sys.executable, "-m", "export", *export, "--labels", "demo/labels.txt", "--precision", "float32")
    assert done.returncode == 0, done.stderr
    server.start(folder / "model_store", ["lseg=lseg.mar"])
    try:
        server.wait_until_ready("lseg", seconds=300)
        yield place
    finally:
        server.stop()


def test_documents_are_taken_apart_as_development_md_says(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A title, with `code`\n<!-- not run: it takes\n     a card -->\n```sh\nfalse\n```\n\n```sh\necho 1\n```\n\n"
        "<!-- prints -->\n```json\n1\n```\n<!-- a remark -->\n\n```python\n# not a heading\n```\n[a](b.md#c) `[d](e)`\n"
    )
    first, second, third = blocks_of(page, tmp_path)
    assert (first.text, first.directive, first.reason) == ("false\n", "not run", "it takes a card")
    assert (str(second), second.directive, second.output, second.output_language) == ("page.md:8", None, "1\n", "json")
    assert (third.language, third.directive, third.output) == ("python", None, None)
    assert anchors_of(page) == {"a-title-with-code"}
    assert links_of(page) == ["b.md#c"]


@pytest.mark.parametrize(
    ("expected", "actual", "matches"),
    [
        ("a ... c\n", "a b c", True),
        ("a ... c\n", "a\nb c", False),
        ("a\n...\nd\n", "a\nb\nc\nd\n", True),
        ("a\n...\n", "a\n", True),
        ("a\n...\n", "b\na\n", False),
        ("a.c\n", "abc\n", False),
    ],
)
def test_text_is_compared_up_to_its_ellipses(expected: str, actual: str, matches: bool) -> None:
    assert text_matches(expected, actual) is matches


@pytest.mark.parametrize(
    ("expected", "actual", "matches"),
    [
        ({"a": "..."}, {"a": [1, 2]}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1, "...": "..."}, {"a": 1, "b": 2}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ([1, "..."], [1, 2, 3], True),
        ([1, 2], [1, 2, 3], False),
        ([1, 2], [1, 3], False),
        ([1, 2], [1], False),
    ],
)
def test_json_is_compared_up_to_its_ellipses(expected: object, actual: object, matches: bool) -> None:
    assert json_matches(expected, actual) is matches


@pytest.mark.parametrize("block", [one for one in BLOCKS if one.directive != "not run"], ids=str)
def test_a_block_does_what_it_says(workplace: Workplace, block: Block) -> None:
    if block.language == "yaml":
        Config.from_mapping(yaml.safe_load(block.text))
        return
    assert block.language != "json", f"{block}: a response says which block prints it, or why it is not checked"
    if "curl" in block.text and shutil.which("curl") is None:
        pytest.skip("curl is not installed here")
    command = [sys.executable, "-"] if block.language == "python" else ["bash", "-euo", "pipefail", "-s"]
    done = workplace.run(*command, program=block.text)
    assert done.returncode == 0, f"{block}:\n{done.stdout}{done.stderr}"
    if block.output is not None:
        printed = _is_printed(workplace.here(block.output), block.output_language, done.stdout)
        assert printed, f"{block} prints:\n{done.stdout}"


def _is_printed(expected: str, language: str, printed: str) -> bool:
    if language == "json":
        return json_matches(json.loads(expected), json.loads(printed))
    return text_matches(expected, printed)


def test_every_block_that_is_not_run_says_why() -> None:
    assert BLOCKS
    assert not [str(one) for one in BLOCKS if one.directive == "not run" and len(one.reason.split()) < 2]


def test_most_blocks_run() -> None:
    """A reason is an exception: documents whose blocks are mostly not run would rot."""
    run = sum(one.directive != "not run" for one in BLOCKS)
    assert run >= len(BLOCKS) / 2, f"{run} of {len(BLOCKS)}"


def test_the_readme_is_short() -> None:
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES


@pytest.mark.parametrize("path", LINKED, ids=lambda path: str(path.relative_to(PROJECT)))
def test_links_lead_to_files_and_headings(path: Path) -> None:
    broken = []
    for target in links_of(path):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name) if name else path
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            broken.append(target)
    assert not broken


def test_files_named_in_the_documents_exist() -> None:
    """Paths in code spans that look like one of this checkout's files."""
    rooms = "|".join(path.name for path in PROJECT.iterdir() if path.is_dir() and not path.name.startswith("."))
    for path in RUN:
        named = re.findall(rf"`((?:{rooms})/[\w/.-]*\.(?:py|yaml|properties|toml|md|txt|jpg))`", path.read_text())
        assert not [name for name in named if not (PROJECT / name).exists()], path.name


def test_tests_named_in_the_documents_exist() -> None:
    written = "".join(path.name + path.read_text(encoding="utf-8") for path in PROJECT.glob("tests/**/*.py"))
    named = {name for path in RUN for name in re.findall(r"\btest_\w+(?:\.py)?", path.read_text(encoding="utf-8"))}
    assert len(named) > 100
    assert not [name for name in named if name not in written]


def test_configuration_keys_named_in_the_documents_exist() -> None:
    config = Config()
    named = {key for path in RUN for key in re.findall(r"`(?:lseg\.)?((?:hpu|accurate)\.\w+)`", path.read_text())}
    assert "hpu.max_graphs" in named
    for section, key in (name.split(".") for name in named):
        assert hasattr(getattr(config, section), key), f"{section}.{key}"


def test_the_page_of_requests_names_every_field_and_value(workplace: Workplace) -> None:
    url = f"{workplace.server.addresses.management_url}/models/lseg?customized=true"
    described = requests.get(url, timeout=30).json()[0]["customizedMetadata"]
    schema = (json.loads(described) if isinstance(described, str) else described)["request"]
    page = (PROJECT / "docs" / "requests.md").read_text(encoding="utf-8")
    names = {*schema["properties"], *_enumerated(schema)}
    assert {"image", "png", "accurate", "rle"} <= names
    assert not [name for name in names if f"`{name}`" not in page]


def _enumerated(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from (value for value in schema.get("enum", []) if isinstance(value, str))
        for value in schema.values():
            yield from _enumerated(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _enumerated(value)


def test_the_page_of_requests_names_every_error() -> None:
    page = (PROJECT / "docs" / "requests.md").read_text(encoding="utf-8")
    errors = [SegmenterError]
    for error in errors:
        errors.extend(error.__subclasses__())
    assert len(errors) > 5
    assert not [error.type for error in errors if f"`{error.type}`" not in page]


def test_the_page_of_watching_explains_every_metric_and_no_other() -> None:
    sources = [PROJECT / "handler" / "metrics.py", PROJECT / "handler" / "watching" / "request_metrics.py"]
    page = (PROJECT / "docs" / "watching.md").read_text(encoding="utf-8")
    reported = {name for source in sources for name in re.findall(r'"(LSeg\w+)"', source.read_text(encoding="utf-8"))}
    assert reported
    assert set(re.findall(r"^\| `(LSeg\w+)` \| (?:counter|gauge|histogram)", page, re.MULTILINE)) == reported


def test_the_page_of_export_explains_every_option_and_no_other() -> None:
    help_text = subprocess.run(
        [sys.executable, "-m", "export", "--help"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout
    page = (PROJECT / "docs" / "export.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `(--[\w-]+)", page, re.MULTILINE)
    assert set(table) == set(re.findall(r"--[a-z][\w-]+", help_text)) - {"--help"}
