"""The front's keys, its configuration and its command, without nginx."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import fields
from hashlib import sha256
from pathlib import Path

import pytest
import requests
from starlette.applications import Starlette
from starlette.requests import Request as AppRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lseg_serve.front.__main__ import main
from lseg_serve.front.checker import create_checker
from lseg_serve.front.keys import KeyFile, KeyFileError, Keys, add_key
from lseg_serve.front.models import Models
from lseg_serve.front.render import HEADER_FIELDS, KINDS, MEANINGS, FrontSettings, SettingError, render
from lseg_serve.handler.request_model import Request
from lseg_serve.server import LocalServer
from lseg_serve.server.settings import Settings
from tests.conftest import PROJECT
from tests.support.web import listening

PLACE = {"certificate": "/c.pem", "certificate_key": "/k.pem", "folder": "/run/front"}


def test_a_key_is_kept_as_its_hash_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    key = add_key(file, "alice")
    assert file.read_text() == f"alice {sha256(key.encode()).hexdigest()}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Keys.read(file).client(key) == "alice"


def test_a_client_may_have_several_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# who may ask")  # without a line end
    keys = [add_key(file, name) for name in ("alice", "bob", "alice")]
    assert len(set(keys)) == 3
    assert [Keys.read(file).client(key) for key in keys] == ["alice", "bob", "alice"]


@pytest.mark.parametrize("key", ["", "x", "lseg_" + "A" * 43, "lseg_" + "ä" * 43, "\udcff"])
def test_other_keys_are_nobodys(key: str, tmp_path: Path) -> None:
    add_key(tmp_path / "keys", "alice")
    assert Keys.read(tmp_path / "keys").client(key) is None


def test_a_hash_of_something_that_is_no_key_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"alice {sha256(b'').hexdigest()}\n")
    assert Keys.read(tmp_path / "keys").client("") is None


@pytest.mark.parametrize("line", ["alice", "alice xyz", "alice " + "a" * 63, "a/b " + "a" * 64, "a b " + "a" * 64])
def test_a_damaged_file_is_named_with_its_line(line: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# keys\n{line}\n")
    with pytest.raises(KeyFileError, match=f"line 2 of {file}"):
        KeyFile(file)


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "-a", "a" * 65])
def test_names_are_checked(name: str, tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="accepted: up to 64"):
        add_key(tmp_path / "keys", name)
    assert not (tmp_path / "keys").exists()


def test_changes_of_the_file_count_at_once_and_damage_does_not(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    alice = add_key(file, "alice")
    kept = KeyFile(file)
    bob = add_key(file, "bob")
    assert kept.keys().client(bob) == "bob"
    file.write_text("damaged\n")
    assert kept.keys().client(alice) == "alice"
    file.unlink()
    assert kept.keys().client(alice) == "alice"
    file.write_text("# nobody\n")
    assert kept.keys().client(alice) is None


def test_the_template_is_filled_and_has_every_setting() -> None:
    text = render(FrontSettings(**PLACE))
    assert "{{" not in text
    names = {one.name for one in fields(FrontSettings)}
    assert names == set(KINDS) == set(MEANINGS)
    for name in names:
        assert re.search(rf"\{{\{{#?{name}\}}\}}", (PROJECT / "front" / "nginx.conf.template").read_text()), name


def test_without_tls_nothing_of_it_is_left_and_it_has_to_be_asked_for() -> None:
    text = render(FrontSettings(folder="/run/front", tls="off", listen="0.0.0.0:8000"))
    assert "listen 0.0.0.0:8000 backlog" in text
    assert "ssl" not in text
    assert "Strict-Transport-Security" not in text
    assert "{{" not in text
    with_tls = render(FrontSettings(**PLACE, listen="0.0.0.0:8000"))
    assert set(text.splitlines()) - set(with_tls.splitlines()) == {"        listen 0.0.0.0:8000 backlog=1024;"}
    with pytest.raises(SettingError, match="certificate is missing; accepted: "):
        FrontSettings(folder="/run/front")
    with pytest.raises(SettingError, match="certificate_key is missing; accepted: "):
        FrontSettings(folder="/run/front", certificate="/c.pem")
    with pytest.raises(SettingError, match="certificate is given, and tls is off; accepted: "):
        FrontSettings(**PLACE, tls="off")


def test_every_option_of_a_request_passes_as_a_header() -> None:
    assert set(HEADER_FIELDS) == set(Request.model_fields) - {"image"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("listen", "127.0.0.1"),
        ("listen", "127.0.0.1:80; include /etc/passwd"),
        ("folder", "relative"),
        ("folder", "/a b"),
        ("folder", "/a;"),
        ("rate", "0"),
        ("rate", "1.5"),
        ("requests", "65536"),
        ("address_requests", "100000"),
        ("user", "root;"),
        ("tls", "no"),
        ("workers", "0"),
        ("access_log", "/a\n"),
    ],
)
def test_a_setting_that_nginx_would_read_in_another_way_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"{name} is .*; accepted: "):
        FrontSettings(**{**PLACE, name: value})


def test_the_settings_fit_those_of_the_server() -> None:
    settings, torchserve = FrontSettings(**PLACE), Settings.read(LocalServer.config, {})
    assert int(settings.max_body) < int(torchserve.get("max_request_size", ""))
    assert int(settings.max_body) * int(settings.server_requests) <= 2 * 1024**3, "Java's -XX:MaxDirectMemorySize"
    assert "-XX:MaxDirectMemorySize=2g" in torchserve.get("vmargs", "")


def test_the_command_makes_keys_and_configurations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "keys"
    assert main(["key", "alice", "--keys", str(file)]) == 0
    assert Keys.read(file).client(capsys.readouterr().out.strip()) == "alice"
    place = ["--certificate", "/c.pem", "--certificate-key", "/k.pem", "--folder", "/run/front"]
    assert main(["render", *place, "--listen", "127.0.0.1:9443", "--output", str(tmp_path / "nginx.conf")]) == 0
    assert "listen 127.0.0.1:9443 ssl" in (tmp_path / "nginx.conf").read_text()
    assert main(["render", *place, "--rate", "fast"]) == 1
    assert "rate is 'fast'; accepted: a whole number" in capsys.readouterr().err
    assert main(["check", "--keys", str(tmp_path / "none")]) == 1
    assert "cannot be read" in capsys.readouterr().err


@pytest.fixture
def workers() -> list[dict[str, str]]:
    """What the management port tells of the workers, to be changed by a test."""
    return [{"id": "9000", "status": "READY"}]


@pytest.fixture
def checker(workers: list[dict[str, str]], tmp_path: Path) -> Iterator[str]:
    """A checker before a management port that tells of `workers`."""

    async def described(request: AppRequest) -> Response:
        return JSONResponse([{"modelName": "lseg", "modelVersion": "1.0", "workers": workers}])

    add_key(tmp_path / "keys", "alice")
    with listening(Starlette(routes=[Route("/models/lseg/all", described)])) as management:
        models = Models(management, ("lseg", "absent"))
        with listening(create_checker(KeyFile(tmp_path / "keys"), models, "1.2.3")) as url:
            yield url


def test_the_checker_says_whose_key_it_is(checker: str, tmp_path: Path) -> None:
    key = add_key(tmp_path / "keys", "bob")
    answer = requests.get(f"{checker}/check", headers={"X-API-Key": key}, timeout=10)
    assert (answer.status_code, answer.headers["X-LSeg-Client"]) == (204, "bob")
    assert requests.get(f"{checker}/check", headers={"X-API-Key": key[:-1]}, timeout=10).status_code == 401
    assert requests.get(f"{checker}/check", timeout=10).status_code == 401


def test_a_model_without_a_ready_worker_is_not_ready(checker: str, workers: list[dict[str, str]]) -> None:
    workers[0]["status"] = "UNLOADING"
    for path in ("/v1/models/lseg", "/v2/models/lseg/ready"):
        answer = requests.get(checker + path, timeout=10)
        assert (answer.status_code, answer.json()) == (503, {"name": "lseg", "ready": False})
    answer = requests.get(f"{checker}/v2/models/lseg", timeout=10)
    assert (answer.status_code, answer.json()) == (503, {"error": "the model lseg is loading"})
    assert requests.get(f"{checker}/v1/models", timeout=10).json() == {"models": ["lseg", "absent"]}
    assert requests.get(f"{checker}/v2/health/ready", timeout=10).status_code == 503


def test_one_public_model_that_is_away_makes_the_server_not_ready(checker: str) -> None:
    assert requests.get(f"{checker}/v2/models/lseg/ready", timeout=10).status_code == 200
    assert requests.get(f"{checker}/v2/models/absent/ready", timeout=10).status_code == 503
    assert requests.get(f"{checker}/ping", timeout=10).json() == {"ready": False}
    unknown = requests.get(f"{checker}/v2/models/other", timeout=10)
    assert (unknown.status_code, unknown.json()) == (404, {"error": "there is no model other"})
