"""The end of a worker whose device has failed for good: TorchServe starts another one in its place."""

from __future__ import annotations

import logging
import os
import threading

logger = logging.getLogger(__name__)

_SECONDS = 0.5  # for TorchServe to take the responses that say why
_FAILED = 1


def end_process_soon() -> None:
    """End this process once its responses are sent, without waiting for a device that no longer answers.

    No signal or exception does that: the one would take the responses along, the other waits for the device's driver.
    """
    logger.error("The device has failed for good; this worker ends, and TorchServe starts another")
    timer = threading.Timer(_SECONDS, os._exit, args=[_FAILED])
    timer.daemon = True
    timer.start()
