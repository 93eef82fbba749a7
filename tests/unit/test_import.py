"""The segmenter as a library: its import leaves the program as it was, and it runs where POSIX modules are missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import PROJECT

# What the libraries do at their own import (sympy adds a filter, torch names a folder) is theirs, and comes first.
# torchvision beside a CPU-only torch can be imported only after `torchvision_ops`.
STATE = """
import decimal, gc, json, locale, logging, os, random, signal, socket, sys, threading, warnings
import cv2, numpy, PIL.Image, PIL.ImageFile, torch
from lseg_serve.model import torchvision_ops
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import clip
import safetensors.torch, timm, torch.nn.functional

def state():
    return {
        "Pillow's limit": PIL.Image.MAX_IMAGE_PIXELS,
        "Pillow, cut files": PIL.ImageFile.LOAD_TRUNCATED_IMAGES,
        "torch threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "torch type": str(torch.get_default_dtype()),
        "torch device": str(torch.get_default_device()),
        "torch gradients": torch.is_grad_enabled(),
        "torch random state": torch.random.get_rng_state().sum().item(),
        "torch precision": torch.get_float32_matmul_precision(),
        "torch deterministic": torch.are_deterministic_algorithms_enabled(),
        "torch oneDNN": torch.backends.mkldnn.enabled,
        "cuDNN": (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32),
        "cv2": (cv2.getNumThreads(), cv2.useOptimized(), cv2.ocl.useOpenCL()),
        "numpy errors": numpy.geterr(),
        "numpy random state": int(numpy.random.get_state()[1].sum()),
        "random state": hash(random.getstate()),
        "warnings": [str(each) for each in warnings.filters],
        "logging": (logging.root.level, str(logging.root.handlers), logging.root.manager.disable),
        "signals": {str(each): str(signal.getsignal(each)) for each in signal.valid_signals()},
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "path": sys.path,
        "hooks": (str(sys.excepthook), str(sys.displayhook), str(threading.excepthook), str(sys.meta_path)),
        "recursion": sys.getrecursionlimit(),
        "garbage": (gc.isenabled(), gc.get_threshold()),
        "sockets": socket.getdefaulttimeout(),
        "locale": locale.setlocale(locale.LC_ALL),
        "decimals": decimal.getcontext().prec,
        "threads": sorted(thread.name for thread in threading.enumerate()),
    }

def changes(before):
    now = json.loads(json.dumps(state()))
    return {key: [before[key], now[key]] for key in before if before[key] != now[key]}

before = json.loads(json.dumps(state()))
import lseg_serve.segmenter
print(json.dumps(changes(before)))
with open(sys.argv[1], "rb") as photo:
    assert lseg_serve.segmenter.decode_image(photo.read(), 10**6).shape == (300, 451, 3)
print(json.dumps(changes(before)))
"""


def _run(program: str, *arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_neither_import_nor_decoding_changes_global_state() -> None:
    assert _run(STATE, str(PROJECT / "demo" / "photos" / "cat.jpg")).splitlines() == ["{}", "{}"]


# Modules of POSIX that Windows does not have, and macOS not all of them.
HIDDEN = """
import os, sys, warnings
POSIX = {"fcntl", "grp", "nis", "posix_ipc", "pty", "pwd", "readline", "resource", "spwd", "syslog", "termios", "tty"}

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in POSIX:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in POSIX:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Hidden())
"""
# filelock says so where it must do without the system's locks, as nothing on Windows or macOS has to.
SOFT = """
warnings.filterwarnings("ignore", "only soft file lock")
"""


def test_an_image_is_segmented_without_the_modules_of_posix() -> None:
    program = f"""
{HIDDEN}{SOFT}
from lseg_serve.segmenter import Config, Segmenter
segmenter = Segmenter.load(sys.argv[1], Config(device="cpu"))
result = segmenter.segment(sys.argv[2], ["cat", "grass"])
assert not POSIX & set(sys.modules), POSIX & set(sys.modules)
print(result.mask.shape, result.labels)
"""
    weights, photo = PROJECT / "demo" / "weights" / "lseg-scenes.safetensors", PROJECT / "demo" / "photos" / "cat.jpg"
    assert _run(program, str(weights), str(photo)) == "(300, 451) ('cat', 'grass')"


def test_cards_are_kept_apart_without_the_modules_of_posix(tmp_path: Path) -> None:
    program = f"""
{HIDDEN}{SOFT}
from pathlib import Path
from lseg_serve.segmenter.devices.hpu.cards import take_card
from lseg_serve.segmenter.errors import DeviceError
def taken():
    os.environ["HABANA_VISIBLE_MODULES"] = "3,5"
    os.environ.pop("HLS_MODULE_ID", None)
    return take_card(Path(sys.argv[1]), lambda: None)
first, second = taken(), taken()
try:
    taken()
except DeviceError as error:
    print(first.module, second.module, error)
first.release()
print(taken().module)
"""
    lines = _run(program, str(tmp_path)).splitlines()
    assert lines[0].startswith("3 5 all 2 Gaudi cards (modules 3, 5) are taken")
    assert lines[1] == "3"
