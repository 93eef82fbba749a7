"""A Label Studio of this machine: its process, its API, and someone who looks at it in a browser."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Browser, Page, Route

SECONDS = 600  # until it answers: its first start makes a database, which takes a minute and more
USER, PASSWORD = "owner@example.com", "Only-for-tests-1"


@dataclass(frozen=True)
class Studio:
    """Where it is, and its owner's token."""

    url: str
    token: str

    def ask(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        """The JSON that a route of the API answers, with `status`."""
        headers = {"Authorization": f"Token {self.token}"}
        answer = requests.request(method, f"{self.url}{path}", headers=headers, timeout=300, **options)
        assert answer.status_code == status, f"{path}: {answer.status_code} {answer.text[:1000]}"
        return answer.json() if "json" in answer.headers.get("content-type", "") else answer.content

    def project(self, config: str, backend: str, *images: Path | Mapping[str, str]) -> tuple[int, list[int]]:
        """A project with a backend; its number, and those of its tasks: files are uploaded, other data imported."""
        number = self.ask("POST", "/api/projects", 201, json={"title": "lseg", "label_config": config})["id"]
        for image in images:
            if isinstance(image, Path):
                files = {"file": (image.name, image.read_bytes())}
                self.ask("POST", f"/api/projects/{number}/import", 201, files=files)
            else:
                self.ask("POST", f"/api/projects/{number}/import", 201, json=[{"data": dict(image)}])
        made = self.ask("POST", "/api/ml", 201, json={"url": backend, "project": number, "title": "LSeg"})
        assert made["readable_state"] == "Connected"
        tasks = self.ask("GET", f"/api/tasks?project={number}&page_size=100")["tasks"]
        return number, sorted(task["id"] for task in tasks)

    def predictions(self, task: int) -> list[dict[str, Any]]:
        """The predictions of a task, the newest last. Label Studio asks the backend if there is none."""
        found: list[dict[str, Any]] = self.ask("GET", f"/api/tasks/{task}")["predictions"]
        return sorted(found, key=lambda one: int(one["id"]))

    def retrieve(self, project: int) -> None:
        """What the action "Retrieve Predictions" does, for all tasks."""
        selected = {"selectedItems": {"all": True, "excluded": []}}
        path = f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}"
        self.ask("POST", path, json=selected)

    def exported(self, project: int, kind: str) -> dict[str, bytes]:
        """The files of an export."""
        content = self.ask("GET", f"/api/projects/{project}/export?exportType={kind}")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    @contextmanager
    def looked_at(self, browser: Browser, project: int, task: int, link: str = "") -> Iterator[Page]:
        """A task in the browser, with the tab of its newest prediction open.

        Nothing is asked of a foreign host: Label Studio's page may only try `link`, the task's own, and gets no answer.
        """
        context = browser.new_context(viewport={"width": 1400, "height": 900}, locale="en-GB")
        foreign: set[str] = set()

        def pass_on(route: Route) -> None:
            if route.request.url.startswith((self.url, "data:", "blob:")):
                route.continue_()
            else:
                foreign.add(route.request.url)
                route.abort()

        context.route("**/*", pass_on)
        page = context.new_page()
        page.set_default_timeout(60_000)
        try:
            page.goto(f"{self.url}/user/login/")
            page.fill("input[name=email]", USER)
            page.fill("input[name=password]", PASSWORD)
            page.click("button[type=submit]")
            page.wait_for_url(lambda url: "/user/login" not in url, wait_until="commit")
            page.goto(f"{self.url}/projects/{project}/data?task={task}")
            page.locator(".lsf-annotation-button__userpic_prediction").first.click()
            page.mouse.move(5, 600)  # away from the tab, whose tooltip covers a part of the image
            page.wait_for_timeout(3000)  # its canvas tells nobody when it is painted
            yield page
            assert foreign <= {link}
        finally:
            context.close()


@contextmanager
def running_studio(environment: Path, data: Path) -> Iterator[Studio]:
    """A Label Studio with its data in the folder `data`; ended at the end."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    studio = Studio(f"http://127.0.0.1:{port}", "0123456789abcdef0123456789abcdef01234567")
    command = [environment / "bin" / "label-studio", "start", "--no-browser", "--internal-host", "127.0.0.1"]
    command += ["-p", str(port), "--data-dir", str(data), "--username", USER, "--password", PASSWORD]
    command += ["--user-token", studio.token]
    variables = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        # Both addresses here, the backend's and that of its webhook, are on loopback.
        "ML_BLOCK_LOCAL_IP": "false",
        "SSRF_PROTECTION_ENABLED": "false",
        # It asks nothing of its makers.
        "LATEST_VERSION_CHECK": "false",
        "COLLECT_ANALYTICS": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }
    with (data / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [str(part) for part in command], env={**os.environ, **variables}, stdout=log, stderr=log, cwd=data
        )
        try:
            _wait(studio.url, process, data / "log.txt")
            yield studio
        finally:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(requests.RequestException):
            if requests.get(f"{url}/health", timeout=5).status_code == 200:
                return
        time.sleep(1)
    raise AssertionError(f"no Label Studio at {url}:\n{log.read_text()[-3000:]}")
