"""Who may ask: keys at the front, and what is seen of them behind it."""

from __future__ import annotations

import signal
import time

import pytest

from lseg_serve.front.keys import add_key
from tests.front.conftest import FORM, error_of
from tests.support.front import Front

NOBODYS = "lseg_" + "A" * 43


def test_a_key_is_needed(front: Front, picture: bytes) -> None:
    answer = front.ask("POST", "/predictions/lseg", key=None, data=picture, headers=FORM)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    error_of(answer, "unauthorized")


@pytest.mark.parametrize("key", [NOBODYS, "lseg_short", "Bearer", "x", "lseg_" + "A" * 5000])
def test_other_keys_are_refused(front: Front, key: str, picture: bytes) -> None:
    for headers in ({"Authorization": f"Bearer {key}"}, {"X-API-Key": key}):
        answer = front.ask("POST", "/predictions/lseg", key=None, data=picture, headers={**FORM, **headers})
        assert answer.status_code == 401
        error_of(answer, "unauthorized")


def test_either_header_brings_a_key(front: Front, picture: bytes) -> None:
    for headers in (
        {"Authorization": f"Bearer {front.key}"},
        {"authorization": f"bearer {front.key}"},
        {"X-API-Key": front.key},
    ):
        answer = front.ask("POST", "/predictions/lseg", key=None, data=picture, headers={**FORM, **headers})
        assert answer.status_code == 200, answer.text


def test_keys_come_and_go_without_a_start(front: Front, picture: bytes) -> None:
    before = front.keys.read_text()
    key = add_key(front.keys, "guest")
    assert front.ask("POST", "/predictions/lseg", key=key, data=picture, headers=FORM).status_code == 200
    front.keys.write_text(before)
    assert front.ask("POST", "/predictions/lseg", key=key, data=picture, headers=FORM).status_code == 401
    front.keys.write_text("damaged\n" + before)
    assert front.ask("POST", "/predictions/lseg", data=picture, headers=FORM).status_code == 200
    front.keys.write_text(before)


def test_no_key_is_written_down(front: Front, picture: bytes) -> None:
    assert front.ask("POST", "/predictions/lseg", data=picture, headers=FORM).status_code == 200
    front.ask("POST", "/predictions/lseg", key=NOBODYS, data=picture, headers=FORM)
    written = [path.read_bytes() for path in front.folder.rglob("*") if path.is_file()]
    assert not [text for text in written if front.key.encode() in text or NOBODYS.encode() in text]


def test_without_the_checker_nobody_gets_in(front: Front, picture: bytes) -> None:
    front.checker.send_signal(signal.SIGSTOP)
    try:
        start = time.monotonic()
        answer = front.ask("POST", "/predictions/lseg", data=picture, headers=FORM)
        assert time.monotonic() - start < 30
    finally:
        front.checker.send_signal(signal.SIGCONT)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert "keys cannot be checked" in str(error_of(answer, "not_ready")["message"])
    assert front.ask("POST", "/predictions/lseg", data=picture, headers=FORM).status_code == 200
