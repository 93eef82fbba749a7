"""Servers that warm up, die, stop and come back: the page says so, and goes on by itself."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from playwright.sync_api import Browser

from lseg_serve.server import LocalServer
from lseg_serve.web import Settings, create_app
from tests.conftest import PROJECT
from tests.serving.conftest import free_addresses
from tests.support.chromium import Visitor, visiting
from tests.support.web import listening
from tests.web.conftest import endpoint_of

VILLAGE = PROJECT / "demo" / "pictures" / "village.jpg"
LABELS = ["sky", "lawn", "other"]
MILLISECONDS = 300_000  # for a server that starts on a busy machine


def _recovered(visitor: Visitor, mode: str = "fast") -> None:
    """Until the mask of LABELS has come by itself: nothing is pressed."""
    visitor.wait_for_mask(LABELS, mode=mode)
    visitor.wait_for_state("ready")
    visitor.wait_for_no_fault()


def test_a_server_that_is_away_starts_warms_up_and_stops(
    browser: Browser, bundled_archive: Path, tmp_path: Path
) -> None:
    server = LocalServer(tmp_path, free_addresses(), environment={"OMP_NUM_THREADS": "1"})
    app = create_app(Settings((endpoint_of(server),)))
    with listening(app) as url, visiting(browser, url) as visitor:
        visitor.open()
        visitor.page.set_default_timeout(MILLISECONDS)
        visitor.choose(VILLAGE)
        visitor.write(*LABELS)
        visitor.wait_for_fault("The model's server is away.")
        visitor.wait_for_state("away")
        server.start(bundled_archive.parent, [f"lseg={bundled_archive.name}"])
        try:
            visitor.wait_for_state("warming")
            visitor.wait_for_fault("The model is warming up.")
            _recovered(visitor)
        finally:
            server.stop()
        visitor.write("sky", "cottage")
        visitor.wait_for_fault("The model's server is away.")
        visitor.wait_for_state("away")
        # The mask in hand stays, and can still be looked at.
        assert visitor.page.locator(".legend tbody tr").count() == len(LABELS)


def test_a_worker_that_is_killed_during_a_request_is_replaced(visitor: Visitor, endpoint: LocalServer) -> None:
    visitor.page.set_default_timeout(MILLISECONDS)
    visitor.choose(VILLAGE)
    visitor.write(*LABELS)
    visitor.wait_for_mask(LABELS)
    visitor.settled()
    (worker,) = endpoint.workers("lseg")
    with visitor.page.expect_request(lambda request: request.method == "POST"):
        visitor.page.click(".segmented >> text=Accurate")
    visitor.page.wait_for_selector(".progress-bar")  # it computes
    psutil.Process(worker["pid"]).kill()
    visitor.wait_for_fault("The worker had to be replaced.")
    _recovered(visitor, mode="accurate")
    (now,) = endpoint.workers("lseg")
    assert now["pid"] != worker["pid"]


def test_the_app_is_stopped_and_started(browser: Browser, endpoint: LocalServer) -> None:
    settings = Settings((endpoint_of(endpoint),))
    with ExitStack() as running:
        url = running.enter_context(listening(create_app(settings)))
        with visiting(browser, url) as visitor:
            visitor.open()
            visitor.choose(VILLAGE)
            visitor.write("sky", "other")
            visitor.wait_for_mask(["sky", "other"])
            running.close()
            visitor.write(*LABELS)
            visitor.wait_for_fault("This page's server is away.")
            visitor.wait_for_state("away")
            with listening(create_app(settings), port=urlsplit(url).port or 0):
                _recovered(visitor)


def test_a_network_that_goes_and_comes_back(visitor: Visitor) -> None:
    visitor.choose(VILLAGE)
    visitor.write("sky", "other")
    visitor.wait_for_mask(["sky", "other"])
    visitor.page.context.set_offline(True)
    visitor.write(*LABELS)
    visitor.wait_for_fault("This page's server is away.")
    visitor.page.context.set_offline(False)
    _recovered(visitor)
