"""A server's life: scaling under requests, starting with mistakes, stopping without a trace."""

from __future__ import annotations

import os
import re
import shutil
import threading
from pathlib import Path

import pytest
import requests
import yaml

from lseg_serve.client import ClientError, LSegClient
from lseg_serve.handler.process.threads import threads_per_worker, usable_cores
from lseg_serve.segmenter.archive import CONFIG_FILE
from lseg_serve.server import LocalServer, ServerError
from tests.serving.conftest import export_archive, free_addresses, running
from tests.support.waiting import eventually

PATIENCE = 120  # seconds for anything that only takes a busy machine longer


def _scale(server: LocalServer, count: int) -> None:
    """Ask for `count` workers and wait until they are ready; not synchronously, which would hold up requests."""
    url = f"{server.addresses.management_url}/models/lseg"
    wanted = {"min_worker": str(count), "max_worker": str(count), "synchronous": "false"}
    answer = requests.put(url, params=wanted, timeout=30)
    assert answer.status_code == 202

    def scaled() -> bool:
        workers = server.workers("lseg")
        return len(workers) == count and all(worker["status"] == "READY" for worker in workers)

    assert eventually(scaled, PATIENCE), f"not {count} workers within {PATIENCE} s: {server.workers('lseg')}"


def test_scaling_up_and_down_under_requests_fails_none(server: LocalServer, photo: bytes) -> None:
    """By the project's client: TorchServe itself may end the request of a worker that it takes away with a 500."""
    shapes: list[tuple[int, ...]] = []
    failures: list[Exception] = []
    stop = threading.Event()

    def ask() -> None:
        with LSegClient(server.addresses.inference_url) as client:
            while not stop.is_set():
                try:
                    shapes.append(client.segment(photo).indices.shape)
                except ClientError as error:
                    failures.append(error)

    clients = [threading.Thread(target=ask) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        _scale(server, 2)
        _scale(server, 1)
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert len(shapes) > 10
    assert set(shapes) == {(300, 451)}
    assert not failures


@pytest.mark.skipif(usable_cores() < 2, reason="one core is not shared out")
def test_workers_share_the_cores(archive: Path, tmp_path: Path, photo: bytes) -> None:
    """Both take half as soon as there are two, and the first all of them again when it is alone."""
    with running(archive, tmp_path / "run", OMP_NUM_THREADS="") as server:  # empty: nobody has chosen a number
        url = f"{server.addresses.inference_url}/predictions/lseg"

        def computing_with(threads: int) -> set[str]:
            """The workers whose last word on it was that number."""
            assert requests.post(url, files={"image": photo}, timeout=60).status_code == 200
            lines = (server.logs / "model_log.log").read_text()
            last = dict(re.findall(r"(W-\d+)-lseg\S* .* Computing with (\d+) threads", lines))
            return {worker for worker, number in last.items() if int(number) == threads}

        _scale(server, 2)
        half = threads_per_worker(2)
        assert eventually(lambda: len(computing_with(half)) == 2, PATIENCE)
        _scale(server, 1)
        assert eventually(lambda: len(computing_with(usable_cores())) == 1, PATIENCE)


def test_stopping_leaves_no_process_and_no_unpacked_model(archive: Path, tmp_path: Path) -> None:
    with running(archive, tmp_path / "run") as server:
        java = server.process()
        assert java is not None
        family = [java, *java.children(recursive=True)]
        assert len(family) >= 2, "Java and its worker"
        assert list((tmp_path / "run" / "tmp" / "models").iterdir())
        assert server.stop()
    assert not any(process.is_running() for process in family)
    assert not list((tmp_path / "run" / "tmp" / "models").iterdir())
    assert not server.stop()


def _programs_without(name: str, folder: Path) -> Path:
    """A folder with a link to every program of this machine but one, and a Java."""
    folder.mkdir()
    for directory in reversed(os.environ["PATH"].split(os.pathsep)):
        for program in Path(directory).glob("*"):
            if program.name != name:
                (folder / program.name).unlink(missing_ok=True)
                (folder / program.name).symlink_to(program)
    return folder


def test_workers_end_on_a_machine_without_the_program_kill(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on bare Debian and in slim container images, where TorchServe cannot scale down by itself."""
    monkeypatch.setenv("PATH", str(_programs_without("kill", tmp_path / "bin")))
    with running(archive, tmp_path / "run") as server:
        _scale(server, 2)
        _scale(server, 1)
        assert len(server.workers("lseg")) == 1
        assert server.stop()
    assert not list((tmp_path / "run" / "tmp" / "models").iterdir())


@pytest.fixture(scope="module")
def folder_archive(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network exported as a folder."""
    store = tmp_path_factory.mktemp("folder")
    export_archive(small_checkpoint, store, "--archive-format", "no-archive")
    return store / "lseg"


def _answers(packed: Path, run_folder: Path, photo: bytes) -> bool:
    with running(packed, run_folder) as server:
        url = f"{server.addresses.inference_url}/predictions/lseg"
        return requests.post(url, files={"image": photo}, timeout=60).ok


def test_a_folder_is_served(folder_archive: Path, tmp_path: Path, photo: bytes) -> None:
    assert _answers(folder_archive, tmp_path / "run", photo)


def test_a_tgz_is_served(small_checkpoint: Path, tmp_path: Path, photo: bytes) -> None:
    export_archive(small_checkpoint, tmp_path / "store", "--archive-format", "tgz")
    assert _answers(tmp_path / "store" / "lseg.tar.gz", tmp_path / "run", photo)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"devise": "cpu"}, "unknown key 'lseg.devise'; accepted: accurate, default_lazy_mode_label_number, device, "),
        ({"device": "tpu"}, "device is 'tpu'; accepted: auto, hpu, cuda, cpu"),
        ({"max_labels": 300}, "max_labels is 300; accepted: a whole number from 1 to 255"),
    ],
)
def test_a_bad_configuration_stops_the_start_with_a_clear_message(
    section: dict[str, object], message: str, folder_archive: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder_archive, tmp_path / "store" / "lseg")
    config = tmp_path / "store" / "lseg" / CONFIG_FILE
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "lseg": section}))
    server = LocalServer(tmp_path / "run", free_addresses())
    server.start(tmp_path / "store", ["lseg=lseg"])
    try:
        with pytest.raises(ServerError) as failure:
            server.wait_until_ready("lseg", seconds=PATIENCE)
    finally:
        server.stop()
    assert message in str(failure.value)


def test_two_servers_run_side_by_side(server: LocalServer, archive: Path, tmp_path: Path, photo: bytes) -> None:
    with running(archive, tmp_path / "run", model="other") as second:
        url = f"{second.addresses.inference_url}/predictions/other"
        assert requests.post(url, files={"image": photo}, timeout=60).status_code == 200
        with pytest.raises(ServerError, match="runs already"):
            second.start(archive.parent, ["lseg=lseg.mar"])
    assert server.process() is not None


def test_ports_in_use_are_reported(server: LocalServer, archive: Path, tmp_path: Path) -> None:
    """Or the server that listens there would be taken for the new one, which cannot start."""
    second = LocalServer(tmp_path / "run", server.addresses)
    with pytest.raises(
        ServerError, match=rf"something listens on 127\.0\.0\.1:{server.addresses.inference.port} already"
    ):
        second.start(archive.parent, ["lseg=lseg.mar"])


def test_a_run_folder_that_cannot_be_written_to_is_reported(tmp_path: Path) -> None:
    """A file lies in its way here; the folder of another user ends alike."""
    (tmp_path / "file").touch()
    server = LocalServer(tmp_path / "file" / "run", free_addresses())
    with pytest.raises(ServerError, match=r"file/run cannot be written to .* accepted: --run-folder"):
        server.start(tmp_path, ["lseg=lseg.mar"])


def test_a_missing_model_store_is_reported(tmp_path: Path) -> None:
    server = LocalServer(tmp_path / "run", free_addresses())
    with pytest.raises(
        ServerError, match=r"(?s)TorchServe refused to start.*--model-store directory not found: .*absent"
    ):
        server.start(tmp_path / "absent", ["lseg=lseg.mar"])
    assert server.process() is None


def test_a_missing_archive_is_reported_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    server = LocalServer(tmp_path / "run", free_addresses())
    with pytest.raises(ServerError, match=r"there is no absent\.mar in the model store .*; it has: nothing"):
        server.start(tmp_path / "store", ["lseg=absent.mar"])
    assert server.process() is None
