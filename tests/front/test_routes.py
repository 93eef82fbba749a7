"""Which routes the front has, what passes to the server, and the form of every error."""

from __future__ import annotations

import json

import pytest
import requests

from lseg_serve.server import LocalServer
from tests.front.conftest import FORM, error_of
from tests.support.front import Front

HIDDEN = [
    "/models",
    "/models/lseg",
    "/models?url=x",
    "/metrics",
    "/api-description",
    "/token",
    "/lseg/predict",
    "/models/lseg/invoke",
    "/explanations/lseg",
    "/workflows",
    "/wfpredict/a",
    "/v1/models/lseg:explain",
    "/.check",
    "/check",
    "/predictions",
    "/predictions/",
    "/predictions/lseg/",
    "/v2/models/lseg/generate",
    "/dashboard",
    "/%00",
]
TRICKS = [
    "/predictions/../models",
    "/predictions/%2e%2e/models",
    "/predictions/lseg/../../models",
    "//models",
    "/predictions//lseg",
    "/predictions/lseg%2f..%2f..%2fmodels",
    "/predictions/..%2fmodels",
    "/predictions/%2e%2e%2fmetrics",
    "/predictions/lseg;/../../models",
    "/./models",
    "/predictions/lseg%00",
    "/predictions/lseg%0d%0ax:1",
    "/predictions/..;/models",
    "/predictions\\..\\models",
    "/%70redictions/..%5cmodels",
]


def test_a_mask_through_the_front_is_the_servers_own(front: Front, server: LocalServer, picture: bytes) -> None:
    through = front.ask("POST", "/predictions/lseg", data=picture, headers=FORM)
    assert through.status_code == 200, through.text
    url = f"{server.addresses.inference_url}/predictions/lseg"
    assert through.content == requests.post(url, data=picture, headers=FORM, timeout=60).content
    assert through.headers["X-LSeg-Legend"].startswith("[")
    assert through.headers["Server"] == "nginx"


@pytest.mark.parametrize("path", [*HIDDEN, *TRICKS])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_routes_are_hidden(front: Front, path: str, method: str) -> None:
    start = f"{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-API-Key: {front.key}\r\n"
    answer = front.exchange(f"{start}Content-Length: 0\r\n\r\n".encode())
    status = int(answer.split()[1])
    assert status in (400, 404), answer
    if status == 404:
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "not_found"


@pytest.mark.parametrize(
    "path",
    [
        "/x/../predictions/lseg",
        "/x/%2e%2e/predictions/lseg",
        "/%70redictions/lseg",
        "/predictions/lseg?url=a&describe=1",
    ],
)
def test_what_reads_as_a_prediction_reaches_the_server_as_one_and_nothing_else(
    front: Front, path: str, picture: bytes
) -> None:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-API-Key: {front.key}\r\nContent-Type: image/png\r\n"
    )
    answer = front.exchange(f"{head}Content-Length: {len(picture)}\r\n\r\n".encode() + picture)
    assert answer.startswith(b"HTTP/1.1 200"), answer[:300]
    assert b"\x89PNG" in answer


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"])
def test_a_prediction_is_a_post(front: Front, method: str) -> None:
    answer = front.ask(method, "/predictions/lseg")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    if method != "HEAD":
        error_of(answer, "method_not_allowed")


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "get"])
def test_odd_methods_are_refused(front: Front, method: str) -> None:
    answer = front.exchange(f"{method} /predictions/lseg HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert answer.split()[1] in (b"400", b"405"), answer


@pytest.mark.parametrize("name", ["describe", "explain", "url_path", "Describe", "X-LSeg-Nothing"])
def test_headers_that_are_not_for_the_server_do_not_reach_it(front: Front, name: str, picture: bytes) -> None:
    answer = front.ask("POST", "/predictions/lseg", data=picture, headers={**FORM, name: "True"})
    assert answer.status_code == 200, answer.text
    assert answer.content.startswith(b"\x89PNG")


def test_options_reach_the_server_as_headers(front: Front, picture: bytes) -> None:
    answer = front.ask("POST", "/predictions/lseg", data=picture, headers={**FORM, "X-LSeg-Crop_Size": "many"})
    assert error_of(answer, "invalid_option")["field"] == "crop_size"
    answer = front.ask("POST", "/predictions/lseg", data=picture, headers={**FORM, "X-LSeg-Format": "json"})
    assert [label["name"] for label in answer.json()["labels"]] == ["sky", "tree"]


def test_a_form_and_a_chunked_body_pass(front: Front, picture: bytes) -> None:
    form = front.ask("POST", "/predictions/lseg", files={"image": picture}, data={"labels": "sky,tree"})
    assert form.status_code == 200, form.text
    chunks = (picture[start : start + 100] for start in range(0, len(picture), 100))
    chunked = front.ask("POST", "/predictions/lseg", data=chunks, headers=FORM)
    assert chunked.content == form.content


def test_a_workers_error_passes_as_it_is(front: Front) -> None:
    answer = front.ask("POST", "/predictions/lseg", data=b"%PDF-1.7", headers=FORM)
    assert answer.status_code == 415
    assert "this is a PDF" in str(error_of(answer, "unsupported_image")["message"])
    assert "X-LSeg-Error" not in answer.headers


def test_the_servers_own_errors_get_the_projects_form(front: Front, picture: bytes) -> None:
    error_of(front.ask("POST", "/predictions/other", data=picture, headers=FORM), "unknown_model")
    bad_form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = front.ask("POST", "/predictions/lseg", data=b"a=%zz&secret=1", headers=bad_form)
    assert "secret" not in answer.text
    assert answer.status_code in (400, 500)
    error_of(answer, "invalid_request" if answer.status_code == 400 else "internal_error")
    long = {**FORM, "X-LSeg-Labels": "a" * 12_000}
    error_of(front.ask("POST", "/predictions/lseg", data=picture, headers=long), "invalid_request")


def test_ids_of_requests_are_made_and_passed_on(front: Front, picture: bytes) -> None:
    made = front.ask("POST", "/predictions/lseg", data=picture, headers=FORM).headers["X-Request-Id"]
    assert len(made) == 32
    assert "," not in made
    given = front.ask("POST", "/predictions/lseg", data=picture, headers={**FORM, "X-Request-Id": "mine-1"})
    assert given.headers["X-Request-Id"] == "mine-1"
    odd = front.ask("POST", "/predictions/lseg", data=picture, headers={**FORM, "X-Request-Id": 'a" b'})
    assert len(odd.headers["X-Request-Id"]) == 32
    lines = [json.loads(line) for line in front.log.splitlines()]
    assert {made, "mine-1"} <= {line["id"] for line in lines}
    assert {line["client"] for line in lines if line["id"] == made} == {"tests"}


def test_health_needs_no_key_and_asks_the_model(front: Front) -> None:
    assert front.ask("GET", "/", key=None).json() == {"status": "alive"}
    assert front.ask("GET", "/v2/health/live", key=None).json() == {"live": True}
    for path in ("/v2/health/ready", "/ping"):
        answer = front.ask("GET", path, key=None)
        assert (answer.status_code, answer.json()) == (200, {"ready": True})
    assert front.ask("POST", "/v2/health/ready", key=None).headers["Allow"] == "GET, HEAD"


def test_models_describe_themselves_in_the_protocols_forms(front: Front) -> None:
    assert front.ask("GET", "/v1/models/lseg").json() == {"name": "lseg", "ready": True}
    assert front.ask("GET", "/v2/models/lseg/ready").json() == {"name": "lseg", "ready": True}
    assert front.ask("GET", "/v2/models/lseg/versions/1.0/ready").json() == {"name": "lseg", "ready": True}
    assert set(front.ask("GET", "/v2").json()) == {"name", "version", "extensions"}
    described = front.ask("GET", "/v2/models/lseg").json()
    assert (described["name"], described["versions"]) == ("lseg", ["1.0"])
    assert {"platform", "inputs", "outputs"} <= set(described)
    for path in ("/v2/models/other", "/v2/models/lseg/versions/9.0", "/v1/models/other"):
        answer = front.ask("GET", path)
        assert answer.status_code == 404
        assert isinstance(answer.json()["error"], str)
    assert front.ask("GET", "/v2/models/lseg", key=None).status_code == 401


def test_errors_of_the_protocols_are_texts(front: Front) -> None:
    for path in ("/v1/models/lseg:predict", "/v2/models/lseg/infer"):
        for answer in (front.ask("POST", path, key=None), front.ask("GET", path)):
            assert answer.status_code in (401, 405)
            assert isinstance(answer.json()["error"], str)
