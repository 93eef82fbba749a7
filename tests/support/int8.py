"""What tests that compute in 8 bits need of the processor."""

from __future__ import annotations

import pytest

from lseg_serve.model.int8 import unavailable_reason

needs_int8 = pytest.mark.skipif(unavailable_reason() is not None, reason=f"int8 cannot run: {unavailable_reason()}")
