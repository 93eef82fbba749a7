"""Every kind of image file to pixels: seconds and memory, as the server decodes it and as Pillow does.

Each file is decoded in a process of its own, because memory that one decoder has freed would hide what the next takes.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from lseg_serve.bench.image_files import FILES
from lseg_serve.bench.rows import Row
from lseg_serve.bench.setting import photo_at
from lseg_serve.segmenter import decode_image

_SIZE, _SMALL = (4000, 3000), (64, 48)
_MOST_PIXELS = 100_000_000
_LONG_ENOUGH = 10  # seconds, after which no further run of a file is begun


def measure(runs: int) -> list[Row]:
    """Two rows for each kind: Pillow, where it decodes the file, and this project."""
    pixels, small = photo_at(*_SIZE).pixels, photo_at(*_SMALL).pixels
    rows = []
    for kind, written in tqdm(FILES.items(), desc="kinds of file", disable=None):
        with tempfile.TemporaryDirectory(prefix="lseg-bench-") as folder:
            files = Path(folder) / "small", Path(folder) / "large"
            files[0].write_bytes(written(small))
            size = files[1].write_bytes(written(pixels))
            found = {path: _in_a_process(path, files, runs) for path in ("naive", "served")}
        rows += [_row(kind, path, size, each, found["naive"]) for path, each in found.items() if each]
    return rows


def _row(kind: str, path: str, size: int, found: dict[str, Any], pillows: dict[str, Any]) -> Row:
    seconds = float(np.median(found["wall"]))
    return Row(
        scenario="kinds",
        path=path,
        where="process",
        labels=0,
        image=f"{_SIZE[0]}x{_SIZE[1]}",
        runs=len(found["wall"]),
        median_ms=1000 * seconds,
        p90_ms=1000 * float(np.quantile(found["wall"], 0.9)),
        fastest_ms=1000 * min(found["wall"]),
        cpu_s=float(np.median(found["cpu"])),
        ratio=float(np.median(pillows["wall"])) / seconds if pillows else None,
        peak_mb=found["peak"] / 1e6,
        note=f"{kind}; {size / 1e6:.3g} MB",
    )


def _in_a_process(path: str, files: tuple[Path, Path], runs: int) -> dict[str, Any]:
    """What `main` prints; nothing where the decoder refuses the file."""
    command = [sys.executable, "-m", "lseg_serve.bench.kinds", path, *map(str, files), str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def main(path: str, small: str, large: str, runs: str) -> None:
    """Decode the file `small` once, `large` as often as said, and print seconds of each and bytes at the highest."""
    decode = {"naive": _by_pillow, "served": _as_served}[path]
    decode(Path(small).read_bytes())  # loads what the decoder needs
    data = Path(large).read_bytes()
    peak = _peak_of(decode, data)
    wall: list[float] = []
    cpu: list[float] = []
    while len(wall) < int(runs) and sum(wall) < _LONG_ENOUGH:
        start, start_cpu = time.perf_counter(), time.process_time()
        decode(data)
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": peak}))


def _peak_of(decode: Callable[[bytes], object], data: bytes) -> int:
    """Bytes that `decode` takes at the highest, the file itself aside."""
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # begins to look for the highest anew
    decode(data)
    return _memory("VmHWM") - before


def _memory(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith(name)))


def _as_served(data: bytes) -> npt.NDArray[np.uint8]:
    return decode_image(data, _MOST_PIXELS)


def _by_pillow(data: bytes) -> npt.NDArray[np.uint8]:
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


if __name__ == "__main__":
    main(*sys.argv[1:])
