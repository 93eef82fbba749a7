"""A stub of CVAT's server: the calls that `cvat-cli task auto-annotate` makes for a task with one image."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

_TIME = "2026-01-01T00:00:00Z"


@dataclass
class CvatTask:
    """A task of the stub, and what was uploaded for it."""

    image: bytes  # a JPEG
    width: int
    height: int
    labels: Sequence[str]
    label_type: str = "any"
    url: str = ""
    uploaded: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # method, body

    def answer(self, path: str) -> object:
        """What a GET of `path` answers; None: there is nothing."""
        labels: list[dict[str, object]] = [
            {"id": 10 + number, "name": name, "color": "#000000", "type": self.label_type, "attributes": [],
             "sublabels": [], "has_parent": False, "parent_id": None, "task_id": 1}
            for number, name in enumerate(self.labels)
        ]  # fmt: skip
        summary = {"url": f"{self.url}/api/none", "count": 1}
        user = {"url": f"{self.url}/api/users/1", "id": 1, "username": "owner", "first_name": "", "last_name": ""}
        answers: dict[str, object] = {
            "/api/server/about": {
                "name": "stub", "description": "stub", "version": "2.80.0", "logo_url": "", "subtitle": "",
            },
            "/api/users/self": user,
            "/api/tasks/1": {
                "url": f"{self.url}/api/tasks/1", "id": 1, "name": "one", "mode": "annotation", "owner": user,
                "assignee": None, "bug_tracker": "", "created_date": _TIME, "updated_date": _TIME, "overlap": 0,
                "segment_size": 1, "status": "annotation", "data_chunk_size": 1, "data": 1,
                "data_compressed_chunk_type": "imageset", "data_original_chunk_type": "imageset",
                "dimension": "2d", "size": 1, "image_quality": 70,
                "subset": "", "organization": None, "project_id": None, "guide_id": None,
                "jobs": {**summary, "completed": 0, "validation": 0},
                "labels": summary, "source_storage": None, "target_storage": None, "assignee_updated_date": None,
                "validation_mode": None, "consensus_enabled": False, "organization_id": None,
            },
            "/api/labels": {"count": len(labels), "next": None, "previous": None, "results": labels},
            "/api/tasks/1/data/meta": {
                "chunk_size": 1, "size": 1, "image_quality": 70, "start_frame": 0, "stop_frame": 0, "frame_filter": "",
                "frames": [
                    {"width": self.width, "height": self.height, "name": "village.jpg", "related_files": 0,
                     "has_related_context": False},
                ],
                "deleted_frames": [], "included_frames": None, "storage": "local", "storage_method": "cache",
                "cloud_storage_id": None, "chunks_updated_date": _TIME,
            },
        }  # fmt: skip
        return answers.get(path.rstrip("/"))

    def chunk(self) -> bytes:
        """The frames, as CVAT packs them."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("000000.jpg", self.image)
        return buffer.getvalue()


@contextmanager
def serving_cvat(task: CvatTask) -> Iterator[CvatTask]:
    """The stub with one task, at `task.url`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 - the standard library's name
            path = urlsplit(self.path).path
            if path.rstrip("/") == "/api/tasks/1/data":
                self._send(200, task.chunk(), "application/zip")
                return
            found = task.answer(path)
            self._send(404 if found is None else 200, json.dumps(found).encode(), "application/json")

        def _uploaded(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            task.uploaded.append((self.command, json.loads(body)))
            self._send(200, body, "application/json")

        do_PUT = do_PATCH = _uploaded  # noqa: N815 - the standard library's names

        def _send(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        task.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield task
        finally:
            server.shutdown()
            thread.join()
