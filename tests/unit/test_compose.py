"""deploy/compose.yaml: services know their options, files exist, and only this machine reaches what has no keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from lseg_serve.cli.main import main as lseg
from lseg_serve.front.__main__ import main as front
from tests.conftest import PROJECT

DEPLOY = PROJECT / "deploy"
# Services that this project's image does not run.
FOREIGN = {"proxy", "prometheus", "grafana"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    return found


def _words(service: dict[str, Any]) -> list[str]:
    words = [*service.get("entrypoint", []), *service.get("command", [])]
    return [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", word) for word in words]


def test_nothing_has_rights_and_all_but_grafana_share_the_servers_network(services: dict[str, Any]) -> None:
    assert set(services) == {"server", "page", "front-configuration", "checker"} | FOREIGN
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        mode = {"server": None, "grafana": None, "front-configuration": "none"}.get(name, "service:server")
        assert service.get("network_mode") == mode, name
        assert ("watching" in service.get("profiles", [])) == (name in ("prometheus", "grafana")), name


def test_only_the_proxy_can_be_published_beyond_this_machine(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 3
    beyond = [port for port in ports if not port.startswith("127.0.0.1:")]
    assert beyond == ["${FRONT_ADDRESS:-127.0.0.1}:${FRONT_PORT:-8443}:8443"]


def test_files_that_are_mounted_exist(services: dict[str, Any]) -> None:
    sources = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    files = [source for source in sources if source.startswith("./")]
    assert len(files) == 3
    for file in files:
        assert (DEPLOY / file).exists(), file
    assert "http://server:9090" in (DEPLOY / "watching/grafana/datasources/prometheus.yml").read_text()


@pytest.mark.parametrize("name", ["page", "checker", "front-configuration", "server"])
def test_services_know_their_options(services: dict[str, Any], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = _words(services[name])
    programs: Sequence[tuple[list[str], Callable[[list[str]], int], list[str]]] = (
        (["tini", "--", "lseg", "web"], lseg, ["web"]),
        (["tini", "--", "python", "-m", "lseg_serve.front", "check"], front, ["check"]),
        (["python", "-m", "lseg_serve.front", "render"], front, ["render"]),
        ([], lseg, ["run"]),  # the image's own
    )
    start, run, command = next(one for one in programs if words[: len(one[0])] == one[0])
    with pytest.raises(SystemExit) as stopped:
        run([*command, *words[len(start) :], "--no-such-option"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.rstrip().endswith("unrecognized arguments: --no-such-option")


def test_the_proxy_reads_what_was_rendered_for_it(services: dict[str, Any], tmp_path: Path) -> None:
    output = tmp_path / "nginx.conf"
    words = [word.replace("/etc/front/nginx.conf", str(output)) for word in services["front-configuration"]["command"]]
    assert front(["render", *words]) == 0
    text = output.read_text()
    assert "listen 0.0.0.0:8443 ssl" in text
    proxy = services["proxy"]
    assert "/etc/front/nginx.conf" in proxy["entrypoint"]
    assert "pid /run/front/nginx.pid;" in text
    assert proxy["tmpfs"][0].startswith("/run/front:")
