"""ADE20K made ready, with a small zip of the same layout and a server that stops in the middle of a download."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lseg_serve.evaluation.__main__ import main
from lseg_serve.evaluation.errors import EvaluationError
from lseg_serve.evaluation.prepare import ADE20K, Published, prepare_ade20k
from tests.support.ade20k import make_ade20k

PAIRS = (("training", 3), ("validation", 2))


@dataclass
class FileServer:
    """Serves one file with ranges. `cut` bytes into an answer it hangs up, once."""

    content: bytes
    url: str = ""
    cut: int | None = None
    ranges: bool = True
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    """The bytes of a zip like the published one."""
    source = tmp_path / "source"
    make_ade20k(source, dict(PAIRS))
    return Path(shutil.make_archive(str(tmp_path / "made"), "zip", source)).read_bytes()


@pytest.fixture
def files(content: bytes) -> Iterator[FileServer]:
    state = FileServer(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
            asked = self.headers["Range"]
            state.asked.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if state.ranges else 0
            whole = len(state.content)
            if start >= whole:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{whole}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if state.ranges else 200)
            self.send_header("Content-Length", str(whole - start))
            self.end_headers()
            end = whole if state.cut is None else start + state.cut
            state.cut = None
            self.wfile.write(state.content[start:end])

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_port}/ADEChallengeData2016.zip"
        yield state
        server.shutdown()
        thread.join()


def _published(files: FileServer) -> Published:
    return Published(files.url, hashlib.sha1(files.content).hexdigest(), PAIRS)


def test_the_published_file_is_the_one_expected() -> None:
    assert ADE20K.sha1 == "219e1696abb36c8ba3a3afe7fb2f4b4606a897c7"
    assert dict(ADE20K.pairs) == {"training": 20210, "validation": 2000}


def test_a_stopped_download_goes_on_where_it_was(
    files: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.cut = 1000
    monkeypatch.setattr("lseg_serve.evaluation.download._CHUNK", 100)  # the file of this test is small
    with pytest.raises(EvaluationError, match="the next run goes on"):
        prepare_ade20k(tmp_path / "data", may_download=True, published=_published(files))
    assert (tmp_path / "data" / "ADEChallengeData2016.zip.part").stat().st_size == 1000
    root = prepare_ade20k(tmp_path / "data", may_download=True, published=_published(files))
    assert files.asked == ["bytes=0-", "bytes=1000-"]
    assert len(list((root / "images" / "training").iterdir())) == 3
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [root.name, f"{root.name}.zip"]
    prepare_ade20k(tmp_path / "data", may_download=False, published=_published(files))
    assert len(files.asked) == 2, "a complete folder needs no network"


def test_a_server_without_ranges_starts_over(files: FileServer, tmp_path: Path) -> None:
    files.cut, files.ranges = 1000, False
    with pytest.raises(EvaluationError):
        prepare_ade20k(tmp_path / "data", may_download=True, published=_published(files))
    prepare_ade20k(tmp_path / "data", may_download=True, published=_published(files))
    assert (tmp_path / "data" / "ADEChallengeData2016.zip").read_bytes() == files.content


def test_a_part_that_is_complete_is_taken(files: FileServer, tmp_path: Path) -> None:
    (tmp_path / "ADEChallengeData2016.zip.part").write_bytes(files.content)
    prepare_ade20k(tmp_path, may_download=True, published=_published(files))
    assert files.asked == [f"bytes={len(files.content)}-"]


def test_another_file_is_refused_by_its_hash(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "ADEChallengeData2016.zip").write_bytes(content)
    with pytest.raises(EvaluationError, match=r"sha1 [0-9a-f]{40}, \d+ bytes; the published file has 219e1696"):
        prepare_ade20k(tmp_path, may_download=False)
    assert not (tmp_path / "ADEChallengeData2016").exists()


def test_nothing_there_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "ade20k", "--data", str(tmp_path)]) == 3
    assert "add --download, or fetch http://data.csail.mit.edu" in capsys.readouterr().err


def test_missing_pairs_are_found(tmp_path: Path) -> None:
    root = make_ade20k(tmp_path, dict(PAIRS))
    published = Published(pairs=PAIRS)
    prepare_ade20k(root, may_download=False, published=published)
    (root / "annotations" / "training" / "ADE_train_00000002.png").unlink()
    with pytest.raises(EvaluationError, match="training/ADE_train_00000002 has no partner"):
        prepare_ade20k(root, may_download=False, published=published)
    (root / "images" / "training" / "ADE_train_00000002.jpg").unlink()
    with pytest.raises(EvaluationError, match="2 pairs in training; the published file has 3"):
        prepare_ade20k(root, may_download=False, published=published)
