"""Whether this process runs in lazy mode: answered once, at the first import, and never again."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, ParamSpec

from habana_frameworks.torch.simulated.environment import lazy_mode_now

_LOGGER = logging.getLogger(__name__)
_LAZY = lazy_mode_now()
P = ParamSpec("P")


def is_lazy() -> bool:
    """Whether operators are accumulated into graphs; what the environment says later changes nothing."""
    return _LAZY


def lazy_only(function: Callable[P, Any]) -> Callable[P, None]:
    """A function that does nothing outside lazy mode, says so once where it is defined, and always returns None."""
    if not _LAZY:
        _LOGGER.warning(
            "Calling %s function does not have any effect. It's lazy mode only functionality. (warning logged once)",
            function.__name__,
        )

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        if _LAZY:
            function(*args, **kwargs)

    return wrapped
