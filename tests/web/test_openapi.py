"""openapi.json: current, and true of the running app."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from lseg_serve.handler.request_model import Request
from lseg_serve.web.write_openapi import FILE, text
from tests.conftest import PROJECT

# Every media type of an image that the document names is generated as this photo.
HOOKS = """
from pathlib import Path
import schemathesis
from hypothesis import strategies
photo = strategies.just(Path({photo!r}).read_bytes())
for media_type in {types!r}:
    schemathesis.openapi.media_type(media_type, photo)
"""
# What JSON Schema cannot say: that base64 is an image, that no two labels read as the same, that black is below white.
EXCLUDED = "positive_data_acceptance"
MASK = "/api/models/{model}/segment"


def _operation(path: str = MASK) -> dict[str, object]:
    return dict(next(iter(json.loads(FILE.read_text(encoding="utf-8"))["paths"][path].values())))


def test_the_file_is_what_the_code_gives() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "run python -m web.write_openapi"
    assert (PROJECT / "docs" / "openapi.json").resolve() == FILE.resolve()


def test_the_app_serves_it(app_url: str) -> None:
    answer = requests.get(f"{app_url}/openapi.json", timeout=30)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == json.loads(text())


def test_both_ways_to_ask_have_the_fields_that_are_checked() -> None:
    schemas = json.loads(FILE.read_text(encoding="utf-8"))["components"]["schemas"]
    assert (
        set(schemas["MaskForm"]["properties"]) == set(schemas["MaskRequest"]["properties"]) == set(Request.model_fields)
    )


def test_no_answer_of_the_running_app_is_undocumented(app_url: str, tmp_path: Path) -> None:
    """Requests by schemathesis, valid ones and others, to every route. The seed makes them the same each time."""
    body = _operation()["requestBody"]
    assert isinstance(body, dict)
    types = body["content"]["multipart/form-data"]["encoding"]["image"]["contentType"].split(", ")
    photo = str(PROJECT / "demo" / "photos" / "cat.jpg")
    (tmp_path / "photo_hooks.py").write_text(HOOKS.format(photo=photo, types=types))
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{app_url}/openapi.json", "--no-color"]
    command += ["--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--seed", "1", "--workers", "1"]
    command += ["--exclude-checks", EXCLUDED, "--request-timeout", "60", "--warnings", "off", "--continue-on-failure"]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "photo_hooks", "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=400
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    tested = re.search(r"Tested: (\d+)", run.stdout)
    assert tested is not None
    # It leaves out the route that it has the document from.
    assert int(tested[1]) == len(json.loads(text())["paths"]) - 1
    assert requests.get(f"{app_url}/api/models", timeout=30).json()["models"][0]["state"] == "ready"


@pytest.mark.parametrize("fault", ["status", "form"])
def test_an_undocumented_answer_would_be_found(app_url: str, tmp_path: Path, fault: str) -> None:
    """The same check on a document that leaves out what the app answers."""
    document = requests.get(f"{app_url}/openapi.json", timeout=30).json()
    if fault == "status":
        del document["paths"][MASK]["post"]["responses"]["400"]
    else:
        document["components"]["schemas"]["Health"]["properties"]["status"] = {"type": "integer"}
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    command = [
        str(Path(sys.executable).parent / "schemathesis"),
        "run",
        str(tmp_path / "openapi.json"),
        "--url",
        app_url,
    ]
    command += ["--phases", "coverage", "--seed", "1", "--include-path", MASK if fault == "status" else "/healthz"]
    command += ["--checks", "status_code_conformance,response_schema_conformance", "--no-color", "--max-failures", "1"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200)
    assert run.returncode == 1
    assert ("Undocumented status code" if fault == "status" else "Response violates schema") in run.stdout
