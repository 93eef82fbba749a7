"""TorchServe's own worker code, with the values of repeated fields kept."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from lseg_serve.handler.repeated_fields import Repeated, keep_repeated_fields

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ts leaves its version file open
    from ts.service import Service


def _message(*fields: tuple[str, bytes]) -> dict[str, Any]:
    """A request as the frontend sends it to the worker."""
    return {
        "requestId": b"1",
        "headers": [{"name": b"Host", "value": b"x"}],
        "parameters": [{"name": name, "contentType": "", "value": bytearray(value)} for name, value in fields],
    }


def _service() -> Any:
    """A class of its own for each test, so that TorchServe's stays as it is."""
    return type("Own", (), {"retrieve_data_for_inference": staticmethod(Service.retrieve_data_for_inference)})


BATCH = [
    _message(("labels", b"sky"), ("image", b"1"), ("labels", b"grass")),
    _message(("labels", b"cat"), ("image", b"2")),
]


def test_torchserve_alone_keeps_the_last_value() -> None:
    _, rows, _ = _service().retrieve_data_for_inference(BATCH)
    assert rows[0]["labels"] == b"grass", "if this fails, TorchServe keeps them itself and the module can go"


def test_all_values_are_kept_in_their_order_and_single_ones_stay_as_they_are() -> None:
    service = _service()
    for _ in range(2):
        keep_repeated_fields(service)
        headers, rows, ids = service.retrieve_data_for_inference(BATCH)
        assert rows == [{"labels": Repeated((b"sky", b"grass")), "image": b"1"}, {"labels": b"cat", "image": b"2"}]
        assert headers[0].get_request_properties()["Host"] == "x"
        assert ids == {0: "1", 1: "1"}


def test_a_torchserve_without_the_function_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    keep_repeated_fields(type("Other", (), {}))
    assert "the last value counts" in caplog.text


def test_a_torchserve_with_other_data_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    def retrieve(batch: Any) -> Any:
        return batch

    other: Any = type("Other", (), {"retrieve_data_for_inference": staticmethod(retrieve)})
    keep_repeated_fields(other)
    assert other.retrieve_data_for_inference(["request"]) == ["request"]
    assert "the last value counts" in caplog.text
