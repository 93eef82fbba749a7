"""The image for CPUs, built of this checkout and run as production runs it."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import requests
import yaml
from PIL import Image

from lseg_serve.segmenter import Segmenter
from lseg_serve.server import Addresses
from lseg_serve.server.connections import connections_to
from tests.conftest import PROJECT
from tests.image.engine import Container, Engine
from tests.serving.conftest import free_addresses
from tests.support.waiting import eventually

PICTURE = PROJECT / "demo" / "pictures" / "village.jpg"
LABELS = ["sky", "lawn", "street", "cottage", "sheep", "cow", "person", "other"]
PATIENCE = 300
LARGEST = 2_200_000_000  # bytes


@dataclass(frozen=True)
class Served:
    """A container with the addresses of its server, on loopback."""

    container: Container
    addresses: Addresses
    health: str

    def ask(self, **fields: str) -> requests.Response:
        files = {"image": PICTURE.read_bytes()}
        url = f"{self.addresses.inference_url}/predictions/lseg"
        return requests.post(url, files=files, data={"labels": ",".join(LABELS), **fields}, timeout=PATIENCE)

    def ready(self) -> bool:
        try:
            return requests.get(f"http://{self.health}/ready", timeout=30).status_code == 200
        except requests.ConnectionError:
            return False

    def scale(self, workers: int) -> requests.Response:
        url = f"{self.addresses.management_url}/models/lseg?min_worker={workers}&max_worker={workers}&synchronous=true"
        return requests.put(url, timeout=PATIENCE)

    def workers(self) -> list[str]:
        """The process ids of the workers that run in it."""
        return self.container.sh("pgrep -f '[m]odel_service_worker'").split()


@contextmanager
def _served(engine: Engine, image: str, store: Path, name: str, *arguments: str) -> Iterator[Served]:
    """A container on the network of this machine, with ports of its own on loopback; removed at the end."""
    addresses = free_addresses()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        health = f"127.0.0.1:{free.getsockname()[1]}"
    options = ["--network", "host", "--volume", f"{store}:/models:ro", "--env", "OMP_NUM_THREADS=1"]
    for variable, value in {**addresses.environment(), "LSEG_HEALTH_ADDRESS": health}.items():
        options += ["--env", f"{variable}={value}"]
    container = Container(engine, name)
    container.remove()  # what a killed test left
    try:
        yield Served(engine.start(image, name, options, arguments), addresses, health)
    finally:
        container.remove()


@pytest.fixture(scope="module")
def served(engine: Engine, image: str, store: Path) -> Iterator[Served]:
    with _served(engine, image, store, "lseg-test") as one:
        assert not one.container.healthy(), "it loads"
        assert eventually(one.ready, PATIENCE), one.container.log()
        yield one


def test_it_is_small_and_has_nothing_to_build_with(engine: Engine, image: str) -> None:
    size = engine.size(image)
    print(f"\nimage: {size / 1e9:.2f} GB")
    assert size < LARGEST, "with the CUDA build of torch it is three times as large"
    found = engine.run(
        "podman", "run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c",
        "for one in gcc cc make git pip pip3 unzip; do command -v $one; done; python -m pip --version; exit 0",
    )  # fmt: skip
    assert found.stdout == ""
    assert "No module named pip" in found.stderr


def test_it_answers_as_the_segmenter_does(served: Served, store: Path) -> None:
    answer = served.ask()
    assert answer.status_code == 200, answer.text
    mask = np.asarray(Image.open(io.BytesIO(answer.content)))
    expected = Segmenter.load(store / "lseg.mar").segment(PICTURE, LABELS)
    assert len(np.unique(mask)) > 4
    assert np.mean(mask == expected.mask) > 0.999


def test_it_runs_without_rights_and_cannot_change_itself(served: Served) -> None:
    container = served.container
    assert container.sh("id -u; id -g").split() == ["10001", "10001"]
    status = container.sh("cat /proc/1/status")
    assert {"CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"} <= set(status.splitlines())
    for folder in ("/", "/etc", "/opt/lseg", "/models", "/home/lseg", "/run", "/var/tmp"):
        assert container.sh(f"touch {folder}/new && echo written") == "", folder
    assert container.sh("touch /tmp/new && echo written") == "written"


def test_its_workers_listen_on_no_port(served: Served) -> None:
    """Though /tmp is mounted noexec, where TorchServe would fall back to TCP."""
    assert "--sock-type unix" in served.container.sh("ps -eo args")


def test_its_health_is_that_of_a_worker(served: Served) -> None:
    assert served.container.healthy()
    log = served.container.log()
    assert "Model lseg loaded" in log, "it logs to the console"
    assert "GET /models/lseg HTTP" not in log, "but not what probes ask"


def test_it_scales_up_and_down(served: Served) -> None:
    one = served.container.megabytes()
    first = served.workers()
    assert served.scale(2).status_code == 200
    assert len(served.workers()) == 2
    assert served.ready()
    with ThreadPoolExecutor(4) as pool:
        assert {answer.status_code for answer in pool.map(lambda _: served.ask(), range(4))} == {200}
    two = served.container.megabytes()
    assert served.scale(1).status_code == 200
    assert eventually(lambda: len(served.workers()) == 1, 60), "the program kill is there"
    assert served.ask().status_code == 200
    assert set(served.workers()) <= set(first)
    print(f"\nmemory: {one:.0f} MB with one worker, {two:.0f} MB with two")


def test_told_to_end_it_answers_who_waits(engine: Engine, image: str, store: Path) -> None:
    with _served(engine, image, store, "lseg-test-end", "--leave-seconds", "1") as one, ThreadPoolExecutor(3) as pool:
        assert eventually(one.ready, PATIENCE), one.container.log()
        waiting = [pool.submit(one.ask, mode="accurate") for _ in range(3)]
        port = one.addresses.inference.port
        assert eventually(lambda: sum(connection.waits for connection in connections_to([port])) == 3, 10)
        one.container.signal("TERM")
        assert eventually(lambda: not one.ready(), 5)
        assert not all(future.done() for future in waiting), "answers are still due"
        assert [future.result().status_code for future in waiting] == [200] * 3
        assert one.container.wait() == 0, one.container.log()
        assert "every request is answered" in one.container.log()


def test_without_an_archive_it_ends_and_says_so(engine: Engine, image: str, store: Path) -> None:
    with _served(engine, image, store / "empty", "lseg-test-empty") as one:
        assert one.container.wait() == 1
        assert "there is no lseg.mar in the model store /models" in one.container.log()


def test_an_archive_that_its_user_may_not_read_is_named(engine: Engine, image: str, store: Path) -> None:
    with _served(engine, image, store / "closed", "lseg-test-closed") as one:
        assert one.container.wait() == 1
        assert "/models/lseg.mar cannot be read by this user (10001)" in one.container.log()


def test_the_page_of_the_compose_file_is_served_from_it(engine: Engine, image: str, served: Served) -> None:
    """By its own words, but for the ports. There it shares the server's network, as here both share this machine's."""
    page = yaml.safe_load((PROJECT / "deploy" / "compose.yaml").read_text())["services"]["page"]
    port = str(free_addresses().inference.port)
    others = {"${PAGE_HOST:-localhost}": "localhost", "8090": port}
    program, *words = [others.get(word, word) for word in page["entrypoint"] + page["command"]]
    words[-1] = f"lseg={served.addresses.inference_url},{served.addresses.management_url}"
    container = Container(engine, "lseg-test-page")
    container.remove()
    try:
        engine.start(image, container.name, ["--network", "host", "--entrypoint", program], words)
        url = f"http://localhost:{port}"
        assert eventually(lambda: _answers(f"{url}/healthz"), 60), container.log()
        assert "<html" in requests.get(url, timeout=30).text
        (model,) = requests.get(f"{url}/api/models", timeout=30).json()["models"]
        assert model["state"] == "ready"
        print(f"\nmemory of the page: {container.megabytes():.0f} MB")
    finally:
        container.remove()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=30).ok
    except requests.ConnectionError:
        return False
