"""The commands of the README, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
import pytest
import requests
from PIL import Image

from lseg_serve.server import LocalServer
from lseg_serve.server.addresses import port_option
from lseg_serve.server.java import java_environment
from tests.conftest import PROJECT
from tests.serving.conftest import free_addresses, running
from tests.support.waiting import eventually

PHOTO = PROJECT / "demo" / "photos" / "cat.jpg"


def _client(server: LocalServer, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "client", *arguments, "--url", server.addresses.inference_url]
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'src'}"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_the_client_writes_the_mask_and_prints_its_legend(server: LocalServer, tmp_path: Path) -> None:
    run = _client(server, str(PHOTO), "--labels", "cat,grass,other", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "mask.png: 451x300" in run.stdout
    indices = np.asarray(Image.open(tmp_path / "mask.png"))
    for index, name in enumerate(["cat", "grass", "other"]):
        share = np.mean(indices == index)
        assert (f"{share:6.1%}  {name}" in run.stdout) == (share > 0)


def test_the_client_reports_the_servers_message(server: LocalServer, tmp_path: Path) -> None:
    run = _client(server, str(PHOTO), "--labels", "cat,cat", cwd=tmp_path)
    assert run.returncode == 1
    assert run.stderr.startswith("no mask: 400: label 'cat' is given twice")
    assert not (tmp_path / "mask.png").exists()


def test_the_client_reports_a_missing_server(tmp_path: Path) -> None:
    nowhere = LocalServer(tmp_path, free_addresses())
    run = _client(nowhere, str(PHOTO), cwd=tmp_path)
    assert run.returncode == 1
    assert run.stderr.startswith("no mask: ")


def test_torchserve_by_hand_serves_what_the_export_prints(archive: Path, tmp_path: Path) -> None:
    """`torchserve --start` and `--stop`, with the project's config.properties and the store and model of the export.

    Its logs and its bound of Java's memory are those of `python -m server start`.
    """
    addresses = free_addresses()
    (tmp_path / "tmp").mkdir()
    environment = {
        **os.environ,
        **java_environment(),
        **addresses.environment(),
        "TMPDIR": str(tmp_path / "tmp"),
        "TEMP": str(tmp_path / "tmp"),
        "LOG_LOCATION": str(tmp_path / "logs"),
        "METRICS_LOCATION": str(tmp_path / "logs"),
    }
    torchserve = str(Path(sys.executable).parent / "torchserve")
    start = [torchserve, "--start", "--ncs", "--ts-config", "config/config.properties"]
    start += ["--model-store", str(archive.parent), "--models", "lseg=lseg.mar"]
    with (tmp_path / "console.log").open("w") as console:
        subprocess.run(start, cwd=PROJECT, env=environment, stdout=console, stderr=console, check=True)
    java = psutil.Process(int((tmp_path / "tmp" / ".model_server.pid").read_text()))
    try:
        LocalServer(tmp_path, addresses).wait_until_ready("lseg", seconds=120)
        family = [java, *java.children(recursive=True)]
        answer = requests.post(
            f"{addresses.inference_url}/predictions/lseg", files={"image": PHOTO.read_bytes()}, timeout=60
        )
        assert answer.status_code == 200
        assert "-Dlog4j.configurationFile=config/log4j2.xml" in java.cmdline()
        assert any(word.startswith("-Xmx") for word in java.cmdline())
        assert "[INFO ]" not in (tmp_path / "console.log").read_text(), "the logs are files"
        assert "Loading initial models" in (tmp_path / "logs" / "ts_log.log").read_text()
    finally:
        subprocess.run([torchserve, "--stop"], env=environment, capture_output=True, check=True)
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive


def _make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(
        command, cwd=PROJECT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_make_knows_the_commands_of_the_readme() -> None:
    commands = re.findall(r"`?make (\w+)", (PROJECT / "README.md").read_text())
    assert {"serve", "test", "stop"} <= set(commands)
    for command in set(commands):
        assert _make("--dry-run", command, "CHECKPOINT=x.ckpt").returncode == 0, command


def test_the_server_of_the_project_starts_and_stops_by_its_command(archive: Path, tmp_path: Path) -> None:
    if any(_listens(port) for port in (8080, 8081, 8082, 7070, 7071)):
        pytest.skip("something else listens on TorchServe's default ports")
    command = [sys.executable, "-m", "server", "--run-folder", str(tmp_path / "run")]
    try:
        start = subprocess.run(
            [*command, "start", "--model-store", str(archive.parent)], cwd=PROJECT, capture_output=True, text=True
        )
        assert start.returncode == 0, start.stderr
        assert "serving http://127.0.0.1:8080/predictions/lseg" in start.stdout
    finally:
        stop = subprocess.run([*command, "stop"], cwd=PROJECT, capture_output=True, text=True)
    assert "server stopped" in stop.stdout
    assert eventually(lambda: not _listens(8080), 30)


def _server(run_folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "server", "--run-folder", str(run_folder), *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


def test_the_command_takes_other_ports(archive: Path, tmp_path: Path) -> None:
    """In a folder with a space in its name; another user of the machine who wants the same ports is told what to do."""
    addresses = free_addresses()
    ports = {port_option(name): str(address.port) for name, address in addresses.named().items()}
    start = ["start", "--model-store", str(archive.parent), *chain(*ports.items())]
    try:
        first = _server(tmp_path / "a folder", *start)
        assert first.returncode == 0, first.stderr
        assert f"serving {addresses.inference_url}/predictions/lseg" in first.stdout
        second = _server(tmp_path / "second", *start)
    finally:
        stop = _server(tmp_path / "a folder", "stop")
    assert "server stopped" in stop.stdout
    assert second.returncode == 3
    for option, port in ports.items():
        assert f"127.0.0.1:{port} already" in second.stderr
        assert f"{option} PORT" in second.stderr


@pytest.mark.parametrize("port", ["0", "65535", "http", "-1"])
def test_the_command_refuses_what_is_no_port(port: str, tmp_path: Path) -> None:
    run = _server(tmp_path, "start", f"--metrics-port={port}")
    assert run.returncode == 2
    assert f"'{port}' is not a port; a port is a number from 1 to 65534" in run.stderr


@pytest.mark.parametrize(("length", "refused"), [(89, False), (90, True)])
def test_a_run_folder_too_deep_for_sockets_is_refused_at_once(length: int, refused: bool, tmp_path: Path) -> None:
    """A socket's path holds 107 bytes on Linux; /tmp/.ts.sock.9000 takes 18 of them."""
    with TemporaryDirectory(dir="/tmp") as short:
        folder = Path(short) / ("é" + "x" * (length - len(f"{short}/é".encode())))
        run = _server(folder, "start", "--model-store", str(tmp_path / "nowhere"))
        assert run.returncode == (3 if refused else 1)
        assert ("1 bytes too long for the workers' sockets" in run.stderr) == refused, run.stderr


def test_a_proxy_for_the_internet_is_not_asked_for_loopback(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = LocalServer(tmp_path, free_addresses()).addresses.inference_url
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, nowhere)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with running(archive, tmp_path / "run") as server:
        run = _client(server, str(PHOTO), "--labels", "cat,other", cwd=tmp_path)
    assert run.returncode == 0, run.stderr


def _listens(port: int) -> bool:
    try:
        requests.get(f"http://127.0.0.1:{port}/ping", timeout=5)
    except requests.ConnectionError as error:
        return "refused" not in str(error)
    return True
