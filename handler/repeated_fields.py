"""Keeps all values of a field that a form or a query names more than once.

TorchServe's frontend passes on every field in its order. Its worker then makes a dictionary of them, in which the last
value of a name replaces the others (`ts.service.Service.retrieve_data_for_inference`). A form's natural list, such as
two fields `labels`, would silently lose all but its last item. So that function is wrapped: it does what it did, and
where a name came several times, the row gets all its values.

Should a future TorchServe have no such function or other data, rows stay as TorchServe makes them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import Any

logger = logging.getLogger(__name__)

_FUNCTION = "retrieve_data_for_inference"


@dataclass(frozen=True)
class Repeated:
    """The values of a field that was sent more than once, in the order in which they were sent."""

    values: tuple[object, ...]


def keep_repeated_fields(service: type) -> None:
    """Make `service`, TorchServe's `ts.service.Service`, keep all values of a field. A second call changes nothing."""
    function = getattr(service, _FUNCTION, None)
    if function is None:
        logger.warning("this TorchServe has no %s: of a field that is sent twice, the last value counts", _FUNCTION)
    elif not hasattr(function, "__wrapped__"):
        setattr(service, _FUNCTION, staticmethod(_keeping_all(function)))


def _keeping_all(retrieve: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @wraps(retrieve)
    def retrieve_all(batch: Any) -> Any:
        retrieved = retrieve(batch)
        try:
            _, rows, _ = retrieved
            for request, row in zip(batch, rows, strict=True):
                row.update(repeated_fields((field["name"], field["value"]) for field in request["parameters"]))
        except (AttributeError, KeyError, TypeError, ValueError):
            logger.warning("this TorchServe has other data: of a field that is sent twice, the last value counts")
        return retrieved

    return retrieve_all


def repeated_fields(fields: Iterable[tuple[str, object]]) -> dict[str, Repeated]:
    """Those of `fields`, pairs of name and value, whose name comes more than once."""
    values: dict[str, list[object]] = {}
    for name, value in fields:
        values.setdefault(name, []).append(value)
    return {name: Repeated(tuple(several)) for name, several in values.items() if len(several) > 1}
