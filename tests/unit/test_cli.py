"""The command `lseg` without a server: help, exit statuses, streams, which images are meant, and the record."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path, PurePath
from textwrap import dedent

import pytest

from lseg_serve.cli.main import COMMANDS, main
from lseg_serve.cli.manners import CommandError, Status
from lseg_serve.cli.segmentation.inputs import Source, find_sources
from lseg_serve.cli.segmentation.record import FILE, Record, state_of
from tests.conftest import PROJECT


def _lseg(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lseg_serve.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False, **options)  # type: ignore[call-overload,no-any-return]


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "lseg_serve.cli", "--help"],
        capture_output=True, text=True, cwd=PROJECT, check=True,
    )  # fmt: skip
    assert all(f"    {name}" in run.stdout for name in COMMANDS)
    imported = set(re.findall(r"\|\s+([\w.]+)$", run.stderr, re.MULTILINE))
    assert "lseg_serve.cli.main" in imported
    assert not imported & {"torch", "numpy", "httpx2", "gdown", "PIL"}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"example:\n  lseg {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "COMMAND"),
        (["segment", "x.jpg", "--labels", "a;b"], 2, "holds ';'; accepted: labels separated by commas"),
        (["segment", "x.jpg", "--threshold", "2"], 2, "accepted: 0 to 1"),
        (["segment", "x.jpg", "--jobs", "0"], 2, "accepted: 1 to 64"),
        (["scale", "-1"], 2, "scale"),
        (["segment", "absent.jpg", "-o", "unused"], 3, "absent.jpg: no such file; accepted: files, folders"),
        (["buckets", "--config", "absent.yaml"], 3, "absent.yaml"),
        (["segment", "demo/photos/cat.jpg", "--url", "http://127.0.0.1:9", "-o", "-"], 4, "127.0.0.1:9"),
        (["describe", "--url", "http://127.0.0.1:9", "--management-url", "http://127.0.0.1:9"], 4, "127.0.0.1:9"),
        (["web", "--port", "99999"], 2, "'99999' is not a port; accepted: 0 to 65535"),
        (["web", "--host", "203.0.113.1"], 3, "page not served: 203.0.113.1:8090 cannot be listened on"),
        (["label-studio"], 3, "Label Studio's address is not known; accepted: --label-studio URL, or LABEL_STUDIO_URL"),
        (["label-studio", "--allowed-host", "http://a/"], 2, "'http://a/' is no host; accepted: NAME, NAME:PORT or"),
        (["describe", "--url", "nonsense"], 3, "accepted: http://HOST:PORT"),
    ],
)
def test_what_goes_wrong_has_a_status_and_a_message(arguments: list[str], status: int, message: str) -> None:
    run = _lseg(*arguments)
    assert run.returncode == status, run.stderr
    assert message in run.stderr
    assert "Traceback" not in run.stderr
    assert run.stdout == ""


def test_with_json_an_error_is_json() -> None:
    run = _lseg("fetch", "nothing", "--json")
    assert run.returncode == 3
    error = json.loads(run.stderr)["error"]
    assert (error["code"], error["type"]) == (3, "refused")
    assert error["message"].startswith("'nothing' is no published checkpoint")


def test_a_reader_that_goes_ends_the_command_without_a_word(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "lseg_serve.cli", "fetch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PROJECT
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == Status.FAULT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_has_its_status_wherever_it_strikes(number: signal.Signals, tmp_path: Path) -> None:
    """Here in the `exec` of a text, as in the import of a module of dataclasses, where Python's own ends by SIGINT."""
    script = f"""
        import argparse, signal, sys
        from lseg_serve.cli.manners import begin, guarded
        signal.signal({number:d}, signal.default_int_handler)  # whatever this process was started with
        begin()
        sys.exit(guarded("here", lambda _: exec("signal.raise_signal({number:d})", globals()), argparse.Namespace()))
    """
    (tmp_path / "struck.py").write_text(dedent(script))
    command = [sys.executable, "-m", "struck"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (run.returncode, run.stderr) == (130, "here: error: interrupted\n")


@pytest.mark.parametrize(("variables", "colored"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_only_a_terminal_gets_colours_unless_it_wants_none(variables: dict[str, str], colored: bool) -> None:
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", **variables}
    environment = {name: value for name, value in environment.items() if name != "NO_COLOR" or name in variables}
    command = [sys.executable, "-m", "lseg_serve.cli", "fetch", "nothing"]
    subprocess.run(command, stderr=child, cwd=PROJECT, env=environment, check=False)
    os.close(child)
    with open(parent, "rb") as terminal:  # noqa: PTH123 - a file descriptor
        shown = terminal.read1(4000)
    assert (b"\x1b[1;31merror" in shown) == colored
    assert b"error" in shown


def test_folders_patterns_and_files_are_each_image_once(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "a/b/2.PNG", "a/.hidden/3.jpg", "a/notes.txt", "a/out/1.png", "c/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    names = [str(tmp_path / "a"), str(tmp_path / "**" / "1.jpg"), str(tmp_path / "a" / "notes.txt"), "-"]
    found = find_sources(names, tmp_path / "a" / "out")
    assert [source.shown.removeprefix(f"{tmp_path}/") for source in found] == [
        "a/1.jpg",
        "a/b/2.PNG",
        "c/1.jpg",
        "a/notes.txt",
        "-",
    ]
    assert found[1].place == PurePath("b/2.PNG")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CommandError, match="empty: no image in it"):
        find_sources([str(tmp_path / "empty")], None)


def _source(path: Path, place: str | None = None) -> Source:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"image")
    return Source(path, PurePath(place or path.name))


def test_results_of_one_name_get_places_of_their_own_and_keep_them(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "c.png").write_bytes(b"someone else's")
    sources = [_source(tmp_path / name) for name in ("x/a.jpg", "y/a.jpg", "x/A.png", "c.jpg")]
    record = Record(out, {})
    record.place(sources, ".png")
    places = [record.output_of(source).name for source in sources]
    assert places == ["a.png", "a-2.png", "A-3.png", "c-2.png"]
    record.close()
    record = Record(out, {})
    record.place(reversed(sources), ".png")
    assert [record.output_of(source).name for source in sources] == places
    assert record.is_result(out / "a-2.png") and not record.is_result(out / "c.png")
    record.close()


def test_done_means_the_result_is_there_and_the_image_is_as_it_was(tmp_path: Path) -> None:
    source = _source(tmp_path / "a.jpg")
    record = Record(tmp_path / "out", {"labels": ["cat"]})
    record.place([source], ".png")
    assert not record.is_done(source)
    record.output_of(source).write_bytes(b"mask")
    record.add(source, state_of(source))
    record.close()
    with (tmp_path / "out" / FILE).open("a") as file:
        file.write('{"image": "half a li')
    record = Record(tmp_path / "out", {"labels": ["cat"]})
    assert record.is_done(source)
    assert source.path is not None
    source.path.write_bytes(b"another image")
    assert not record.is_done(source)
    record.add(source, state_of(source))
    record.output_of(source).unlink()
    assert not record.is_done(source)
    record.close()


def test_results_of_other_options_are_not_mixed(tmp_path: Path) -> None:
    source = _source(tmp_path / "a.jpg")
    record = Record(tmp_path / "out", {"labels": ["cat"]})
    record.place([source], ".png")
    record.output_of(source).write_bytes(b"mask")
    record.add(source, state_of(source))
    with pytest.raises(CommandError, match="another command is at work"):
        Record(tmp_path / "out", {"labels": ["cat"]})
    record.close()
    with pytest.raises(CommandError, match=r"labels was .*cat.* and is .*dog.* now; accepted: .*--again"):
        Record(tmp_path / "out", {"labels": ["dog"]})
    record = Record(tmp_path / "out", {"labels": ["dog"]}, again=True)
    record.place([source], ".png")
    assert record.output_of(source).name == "a.png"
    assert not record.is_done(source)
    record.close()
