"""What `python -m server` reads and checks before it starts anything."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from lseg_serve.server import Address, Addresses, LocalServer, ServerError
from lseg_serve.server.archives import check_archive, fault_of, unpacked_bytes
from lseg_serve.server.environment import log_options
from lseg_serve.server.logs import Logs, last_error
from lseg_serve.server.settings import Settings
from tests.conftest import PROJECT
from tests.support.waiting import eventually


def _settings(folder: Path, text: str, **environment: str) -> Settings:
    path = folder / "own.properties"
    path.write_text(text, encoding="utf-8")
    return Settings.read(path, environment)


ENVIRONMENT_COUNTS = "enable_envvars_config=true\n"


def test_the_projects_file_gives_the_default_addresses() -> None:
    assert Addresses.configured(Settings.read(LocalServer.config, {})) == Addresses()


@pytest.mark.parametrize(
    "line",
    ["management_address=http://127.0.0.1:9181", "management_address = http://127.0.0.1:9181 ",
     "  management_address: http://127.0.0.1:9181", "management_address http://127.0.0.1:9181"],
)  # fmt: skip
def test_addresses_are_read_from_the_file(line: str, tmp_path: Path) -> None:
    addresses = Addresses.configured(_settings(tmp_path, f"# inference_address=http://127.0.0.1:1\n{line}\n"))
    assert addresses == Addresses(management=Address(9181))


def test_the_environment_overrides_the_file_where_the_file_lets_it(tmp_path: Path) -> None:
    text = "inference_address=http://127.0.0.1:9180\ngrpc_inference_port=9170\n"
    environment = {"TS_INFERENCE_ADDRESS": "http://0.0.0.0:80", "TS_GRPC_INFERENCE_PORT": "7"}
    followed = Addresses.configured(_settings(tmp_path, ENVIRONMENT_COUNTS + text, **environment))
    assert followed.inference == Address(80, "0.0.0.0")
    assert followed.grpc_inference == Address(7)
    assert followed.inference_url == "http://127.0.0.1:80", "nobody can connect to 0.0.0.0 everywhere"
    kept = Addresses.configured(_settings(tmp_path, text, **environment))
    assert (kept.inference, kept.grpc_inference) == (Address(9180), Address(9170))


def test_a_value_may_name_a_variable_of_the_environment(tmp_path: Path) -> None:
    settings = _settings(tmp_path, "metrics_address=http://127.0.0.1:$$METRICS$$\n", METRICS="9182")
    assert Addresses.configured(settings).metrics == Address(9182)


def test_an_address_without_a_port_gets_torchserves() -> None:
    """Not 8080: TorchServe takes that only where there is no address at all."""
    environment = {"TS_INFERENCE_ADDRESS": "https://localhost", "TS_METRICS_ADDRESS": "http://localhost"}
    addresses = Addresses.configured(Settings.read(LocalServer.config, environment))
    assert addresses.inference == Address(443, "localhost", "https")
    assert addresses.metrics == Address(8082, "localhost")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "TS_INFERENCE_ADDRESS",
            "127.0.0.1:80",
            r"TS_INFERENCE_ADDRESS is '127.0.0.1:80'; accepted .*http://HOST:PORT",
        ),
        ("TS_MANAGEMENT_ADDRESS", "unix:/tmp/x", "TS_MANAGEMENT_ADDRESS is 'unix:/tmp/x'; accepted .*http://HOST:PORT"),
        (
            "TS_MANAGEMENT_ADDRESS",
            "https://a:1",
            "TS_MANAGEMENT_ADDRESS is 'https://a:1'; accepted .*http://HOST:PORT$",
        ),
        ("TS_METRICS_ADDRESS", "http://a:65535", "the port of TS_METRICS_ADDRESS is '65535'; accepted: 1 to 65534"),
        ("TS_GRPC_INFERENCE_PORT", "none", "the port of TS_GRPC_INFERENCE_PORT is 'none'; accepted: 1 to 65534"),
    ],
)
def test_an_address_that_is_not_accepted_is_named(variable: str, value: str, message: str) -> None:
    with pytest.raises(ServerError, match=message):
        Addresses.configured(Settings.read(LocalServer.config, {variable: value}))


def test_options_go_over_the_file_and_over_the_environment() -> None:
    addresses = Addresses.configured(Settings.read(LocalServer.config, {"TS_INFERENCE_ADDRESS": "http://0.0.0.0:9180"}))
    assert addresses.with_ports({"inference": 9280, "metrics": None}).inference == Address(9280, "0.0.0.0")


def test_addresses_that_torchserve_would_not_follow_are_refused(tmp_path: Path) -> None:
    config = tmp_path / "config.properties"
    config.write_text("inference_address=http://127.0.0.1:9180\n")
    server = LocalServer(tmp_path / "run", Addresses.on_loopback(1, 2, 3, 4, 5), config)
    with pytest.raises(ServerError, match=r"has no enable_envvars_config=true, so its own addresses hold"):
        server.start(tmp_path / "store", ["lseg=lseg.mar"])


def test_an_address_is_taken_while_something_listens_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert Address(port).is_taken()
        assert Address(port, "0.0.0.0").is_taken()
    assert not Address(port).is_taken()
    assert not Address(port, "no-such-host.invalid").is_taken()


def _archive(path: Path, entries: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in entries.items():
            archive.writestr(name, text)
    return path


def _whole(store: Path) -> Path:
    return _archive(store / "whole.mar", {"MAR-INF/MANIFEST.json": json.dumps({"model": {}}), "weights": "w" * 99})


def test_whole_archives_pass(tmp_path: Path) -> None:
    _whole(tmp_path)
    (tmp_path / "folder" / "MAR-INF").mkdir(parents=True)
    manifest = tmp_path / "folder" / "MAR-INF" / "MANIFEST.json"
    manifest.write_text("{}")
    with tarfile.open(tmp_path / "packed.tar.gz", "w:gz") as packed:
        packed.add(manifest, "MAR-INF/MANIFEST.json")
    for name in ("whole.mar", "folder", "packed.tar.gz", str(tmp_path / "whole.mar"), "https://example.org/x.mar"):
        check_archive(tmp_path, name)
    assert fault_of(tmp_path, "whole.mar") is None


def test_what_an_archive_takes_once_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "zeros.mar", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights", "0" * 1_000_000)
    assert (tmp_path / "zeros.mar").stat().st_size < 10_000
    assert unpacked_bytes(tmp_path, "zeros.mar") == 1_000_000
    (tmp_path / "folder").mkdir()
    (tmp_path / "packed.tar.gz").write_bytes(b"x" * 50)
    assert unpacked_bytes(tmp_path, "folder") == 0, "TorchServe links it"
    assert unpacked_bytes(tmp_path, "packed.tar.gz") == 50
    assert unpacked_bytes(tmp_path, "https://example.org/x.mar") == 0


def test_an_archive_that_is_none_is_refused_with_the_reason(tmp_path: Path) -> None:
    whole = _whole(tmp_path).read_bytes()
    (tmp_path / "cut.mar").write_bytes(whole[:-30])
    (tmp_path / "page.mar").write_text("<html>Not found</html>")
    (tmp_path / "cut.tar.gz").write_bytes(b"\x1f\x8b\x08\x00")
    (tmp_path / "empty").mkdir()
    _archive(tmp_path / "other.mar", {"readme": "text"})
    for name in ("cut.mar", "page.mar", "cut.tar.gz"):
        with pytest.raises(ServerError, match=rf"{name} is damaged, or no archive of a model \(.+\)"):
            check_archive(tmp_path, name)
    for name in ("other.mar", "empty"):
        with pytest.raises(ServerError, match=rf"{name} is no archive of a model: it has no MAR-INF/MANIFEST.json"):
            check_archive(tmp_path, name)
    with pytest.raises(ServerError, match=r"there is no lseg\.mar in .*; it has: cut\.mar, .*whole\.mar"):
        check_archive(tmp_path, "lseg.mar")


def test_a_flipped_byte_inside_an_archive_is_found(tmp_path: Path) -> None:
    path = _whole(tmp_path)
    content = bytearray(path.read_bytes())
    content[content.index(b"www") + 9] ^= 1
    path.write_bytes(content)
    check_archive(tmp_path, path.name)
    assert "is damaged: the checksum of weights in it is wrong" in str(fault_of(tmp_path, path.name))


@contextmanager
def _process_that_looks_like(*command: str) -> Iterator[psutil.Process]:
    script = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield psutil.Process(process.pid)
        finally:
            process.kill()


def test_a_copied_checkout_does_not_stop_the_server_of_the_first(tmp_path: Path) -> None:
    first, copy = tmp_path / "first", tmp_path / "copy"
    (first / "tmp").mkdir(parents=True)
    with _process_that_looks_like(f"-Djava.io.tmpdir={first / 'tmp'}", "org.pytorch.serve.ModelServer") as process:
        (first / "tmp" / ".model_server.pid").write_text(str(process.pid))
        shutil.copytree(first, copy)
        assert LocalServer(copy).process() is None
        assert not LocalServer(copy).stop()
        assert process.is_running()
        (tmp_path / "link").symlink_to(first)
        assert LocalServer(tmp_path / "link").process() == process, "another path of the same folder"
        assert LocalServer(first).stop()
        assert eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, 30)


def test_a_number_that_went_to_another_process_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / ".model_server.pid").write_text(str(os.getpid()))
    assert not LocalServer(tmp_path).stop()


def test_stop_ends_workers_that_outlived_a_killed_server(tmp_path: Path) -> None:
    (tmp_path / "tmp" / "models" / "unpacked").mkdir(parents=True)
    socket_path = tmp_path / "tmp" / ".ts.sock.9000"
    with (
        _process_that_looks_like("/x/ts/model_service_worker.py", "--sock-name", str(socket_path)) as own,
        _process_that_looks_like("/x/ts/model_service_worker.py", "--sock-name", "/tmp/.ts.sock.9000") as other,
    ):
        assert LocalServer(tmp_path).stop()
        assert not own.is_running() or own.status() == psutil.STATUS_ZOMBIE
        assert other.is_running()
    assert not list((tmp_path / "tmp" / "models").iterdir())


def test_a_second_start_in_a_folder_says_so(tmp_path: Path) -> None:
    server = LocalServer(tmp_path, Addresses.on_loopback(1, 2, 3, 4, 5))
    with FileLock(tmp_path / "start.lock"), pytest.raises(ServerError, match=r"another start in .* is under way"):
        server.start(tmp_path / "absent", ["lseg=lseg.mar"])


TRACEBACK = """\
Traceback (most recent call last):
  File "x.py", line 1, in <module>
ModuleNotFoundError: No module named 'nothing'
During handling of the above exception, another exception occurred:
  File "y.py", line 2, in load
ModuleNotFoundError: No module named 'ts.torch_handler.lseg_handler'
"""


def test_the_reason_of_a_failed_load_is_the_true_error(tmp_path: Path) -> None:
    assert last_error(TRACEBACK.splitlines()) == "ModuleNotFoundError: No module named 'nothing'"
    assert last_error(["a.b.ConfigError: device is 'tpu'", "Connection accepted"]) == "ConfigError: device is 'tpu'"
    assert last_error(["Error handling is fine", "nothing"]) is None
    prefix = "2026-01-01T00:00:00,000 [WARN ] W-9000-lseg_1.0-stderr MODEL_LOG - "
    (tmp_path / "model_log.log").write_text("".join(prefix + line + "\n" for line in TRACEBACK.splitlines()))
    message = str(Logs(tmp_path).worker_failure("the model lseg did not load"))
    assert message.splitlines() == [
        "the model lseg did not load: ModuleNotFoundError: No module named 'nothing'",
        f"its whole log: {tmp_path / 'model_log.log'}",
    ]


def test_a_failure_is_found_in_lines_of_json_too(tmp_path: Path) -> None:
    lines = [{"logger": "request", "status": 200}, {"logger": "org.pytorch.serve.X", "message": "ValueError: not this"}]
    lines += [{"logger": "MODEL_LOG", "message": line} for line in TRACEBACK.splitlines()]
    (tmp_path / "json.log").write_text("no JSON\n" + "".join(json.dumps(line) + "\n" for line in lines))
    message = str(Logs(tmp_path).worker_failure("the model lseg did not load"))
    assert message.splitlines() == [
        "the model lseg did not load: ModuleNotFoundError: No module named 'nothing'",
        f"its whole log: {tmp_path / 'json.log'}",
    ]
    assert "ValueError: not this" in str(Logs(tmp_path).console_failure("it ended"))


def test_logs_are_text_or_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)  # where the path that config.properties names is that of the text
    for kind, name in (("", "log4j2.xml"), ("text", "log4j2.xml"), ("json", "log4j2-json.xml")):
        option, file = log_options(LocalServer.config, {"LSEG_LOGS": kind})
        assert (option, Path(file).name) == ("--log-config", name)
    with pytest.raises(ServerError, match="LSEG_LOGS is 'yaml'; accepted: text, json"):
        log_options(LocalServer.config, {"LSEG_LOGS": "yaml"})


def test_the_projects_logs_are_used_unless_the_file_names_others_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = ["--log-config", str(PROJECT / "config" / "log4j2.xml")]
    assert Path(own[1]).samefile(log_options(LocalServer.config, {})[1])
    (tmp_path / "mine.xml").touch()
    for text, taken in (("", False), ("vmargs=-Xmx1g\n", False), ("vmargs=-Dlog4j.configurationFile=mine.xml\n", True)):
        settings = _settings(tmp_path, text)
        assert (log_options(settings.file, {}) == []) == taken
