"""What tests that compute in 8 bits need of the processor."""

from __future__ import annotations

import pytest

from model.int8 import missing

needs_int8 = pytest.mark.skipif(missing() is not None, reason=f"int8 cannot run: {missing()}")
