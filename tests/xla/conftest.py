"""Without torch_xla, the tests of this folder are skipped. It has a torch of its own, so `make test` has none."""

from __future__ import annotations

import importlib.util

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip them where torch_xla is not installed."""
    if importlib.util.find_spec("torch_xla") is not None:
        return
    reason = "torch_xla is not installed here; `make test-xla` runs these in an environment of their own"
    for item in items:
        if item.path.parent.name == "xla":
            item.add_marker(pytest.mark.skip(reason=reason))
