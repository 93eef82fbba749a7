"""The backend for Label Studio as an app: what it does without a server behind it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import requests

from lseg_serve.annotation.label_studio import Settings, create_app
from lseg_serve.cli.main import main
from tests.support.scripted import Scripted, serving
from tests.support.web import listening

CONFIG = '<View><Image name="i" value="$i"/><BrushLabels name="t" toName="i"><Label value="a"/></BrushLabels></View>'
NOBODY = "http://127.0.0.1:1"


def _predict(url: str, *images: object) -> list[dict[str, Any]]:
    tasks = [{"id": number, "data": {"i": image}} for number, image in enumerate(images)]
    body = {"tasks": tasks, "project": "1.5", "label_config": CONFIG, "params": {}}
    results: list[dict[str, Any]] = requests.post(f"{url}/predict", json=body, timeout=60).json()["results"]
    return results


def test_what_is_late_has_failed_and_the_rest_is_answered() -> None:
    with serving(Scripted(200, b"late", seconds=3)) as studio:
        settings = Settings(studio.url, NOBODY, management_url=NOBODY, answer_seconds=0.5)
        with listening(create_app(settings)) as url:
            slow, bad = _predict(url, "/data/upload/1/a.jpg", "/api/users")
    assert slow["model_version"] == "Failed: no answer within 0.5 s; retrieve predictions once more"
    assert bad["model_version"].startswith("Failed: the path '/api/users' is none of")
    assert slow["result"] == bad["result"] == []


def test_tasks_are_answered_side_by_side_within_the_limit() -> None:
    with serving(Scripted(404, seconds=0.2)) as studio:
        app = create_app(Settings(studio.url, NOBODY, management_url=NOBODY, concurrency=3))
        with listening(app) as url:
            found = _predict(url, *["/data/upload/1/a.jpg"] * 7)
    assert len(found) == 7
    assert studio.most_at_once == 3


def test_a_reason_is_short_and_shows_all_its_characters() -> None:
    settings = Settings(NOBODY, NOBODY, management_url=NOBODY)
    with listening(create_app(settings)) as url:
        (found,) = _predict(url, "http://evil.example/\x1b[31m" + "x" * 5000)
    assert len(found["model_version"]) <= 500
    assert found["model_version"].isprintable()


def test_no_log_line_holds_a_token_or_a_signature(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(Scripted(404)) as studio, listening(create_app(Settings(studio.url, NOBODY))) as url:
        body = {"project": "1.5", "schema": CONFIG, "hostname": studio.url, "access_token": "owners-token"}
        assert requests.post(f"{url}/setup", json=body, timeout=30).status_code == 200
        _predict(url, "/data/upload/1/a.jpg", "http://cloud.example/a.jpg?signature=secret")
    assert "task 0: Failed" in caplog.text
    assert "owners-token" not in caplog.text
    assert "signature=secret" not in caplog.text
    assert studio.asked[0].headers["authorization"] == "Token owners-token"


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--label-studio", "http://a/b"], 3, "'http://a/b' is no address of a server; accepted: http://HOST:PORT"),
        (["--label-studio", "http://a", "--url", "b"], 3, "the address is 'b'; accepted: http://HOST:PORT"),
        (["--label-studio", "http://a", "--host", "203.0.113.1"], 3, "203.0.113.1:9090 cannot be listened on"),
        (["--allowed-host", "*"], 2, "'*' is no host; accepted: NAME, NAME:PORT or *.NAME"),
        (["--allowed-host", "a@b"], 2, "'a@b' is no host"),
        (["--allowed-host", "[::1]"], 2, "'[::1]' is an IPv6 address"),
        (["--private-host", "minio.lan"], 2, "'minio.lan' names no port, or more than one host"),
        (["--private-host", "*.lan:9000"], 2, "'*.lan:9000' names no port, or more than one host"),
        (["--background", "a;b"], 2, "--background: labels is one label, 'a;b', that holds ';'"),
        (["--min-share", "2"], 2, "'2' is not accepted; accepted: a number from 0 to 1"),
        (["--tolerance", "-1"], 2, "'-1' is not accepted; accepted: pixels, 0 to 1000"),
        (["--max-image-bytes", "0"], 2, "'0' is no number of bytes; accepted: 1 or more"),
    ],
)
def test_options_that_cannot_be_are_refused(
    options: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        ended = main(["label-studio", *options])
    except SystemExit as end:  # argparse's own
        ended = int(str(end.code))
    printed = capsys.readouterr()
    assert (ended, message in printed.err, printed.out) == (status, True, ""), printed.err


def test_a_login_is_a_name_and_a_password(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LSEG_LABEL_STUDIO_LOGIN", "name-alone")
    assert main(["label-studio", "--label-studio", "http://a"]) == 3
    assert "LSEG_LABEL_STUDIO_LOGIN is no login; accepted: NAME:PASSWORD" in capsys.readouterr().err
