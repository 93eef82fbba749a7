"""The arithmetic of the waits between tries."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from lseg_serve.client import BadInput, Overloaded, Retries
from lseg_serve.client.retries import Tries, seconds_in


def test_waits_double_up_to_the_longest() -> None:
    tries = Tries(Retries(attempts=9, first_wait=1, longest_wait=4))
    waits = [tries.wait_after(Overloaded(503, "full")) for _ in range(5)]
    for wait, longest in zip(waits, (1, 2, 4, 4, 4), strict=True):
        assert longest / 2 <= wait <= longest


def test_waits_differ() -> None:
    assert len({Tries(Retries()).wait_after(Overloaded(503, "full")) for _ in range(20)}) > 10


def test_many_attempts_overflow_nothing() -> None:
    tries = Tries(Retries(attempts=5000, total=1e9))
    assert max(tries.wait_after(Overloaded(503, "full")) for _ in range(3000)) <= 15


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("soon", 0),
        ("-3", 0),
        ("7", 7),
        (" 7 ", 7),
        ("\u0667", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
    ],
)
def test_retry_after(header: str | None, seconds: float) -> None:
    assert seconds_in(header) == seconds


def test_retry_after_as_a_date() -> None:
    later = datetime.now(timezone.utc) + timedelta(seconds=100)
    assert 95 < seconds_in(format_datetime(later, usegmt=True)) <= 100


@pytest.mark.parametrize("name", ["worker_died", "first_wait", "longest_wait", "total"])
def test_rules_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match=f"{name} is -1; accepted: 0 or more"):
        Retries(**{name: -1})
    with pytest.raises(BadInput, match="attempts is 0; accepted: 1 or more"):
        Retries(attempts=0)
