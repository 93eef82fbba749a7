"""Pickles with all that trainings leave in them are read, on every protocol; and no file can make anything run."""

from __future__ import annotations

import argparse
import datetime
import enum
import functools
import os
import pathlib
import pickle
import random
import struct
import subprocess
import types
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lseg_serve.model import CheckpointError, LSeg, read_checkpoint
from tests.support.networks import SMALL, langseg_tensors, lightning_checkpoint, random_network


class _Split(enum.Enum):
    TRAIN = 1


class _ListOfOnesOwn(list[int]):
    pass


@dataclass(frozen=True)
class _Frozen:
    path: pathlib.Path = pathlib.Path("/data")
    inner: list[int] = field(default_factory=lambda: [1])


class _WithSlots:
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 1


class _WithStateOfItsOwn:
    def __getstate__(self) -> tuple[int, str]:
        return 1, "two"

    def __setstate__(self, state: tuple[int, str]) -> None:
        raise AssertionError("nothing of this class may run")


class _DictConfig:
    """As OmegaConf's: no dictionary, but attributes that hold nodes."""

    def __init__(self) -> None:
        self._content = {"lr": types.SimpleNamespace(_val=0.1)}


LEFT_BY_TRAININGS: dict[str, Callable[[], object]] = {
    "NumPy float64": lambda: np.float64(0.5),
    "NumPy int64 and bool": lambda: {"epoch": np.int64(3), "done": np.bool_(True)},
    "NumPy array": lambda: np.arange(6.0).reshape(2, 3),
    "NumPy array of objects": lambda: np.array([{"a": 1}, None], dtype=object),
    "NumPy random states": lambda: [
        np.random.default_rng(0),
        np.random.RandomState(0),
        np.random.RandomState(0).get_state(),
    ],
    "Python and torch random states": lambda: [random.getstate(), torch.get_rng_state()],
    "deque": lambda: deque([1, 2, np.float32(3)], maxlen=5),
    "partial": lambda: functools.partial(torch.nn.functional.relu, inplace=True),
    "namespace": lambda: argparse.Namespace(lr=0.1, layers=[1, 2]),
    "paths and dates": lambda: [pathlib.Path("/data"), datetime.datetime(2026, 1, 2), datetime.timedelta(1)],
    "enum": lambda: {_Split.TRAIN: [_Split.TRAIN], "class": _Split},
    "collections": lambda: [Counter("ab"), defaultdict(list, a=[1]), OrderedDict(a=1), {1, 2}, frozenset({3})],
    "classes of one's own": lambda: [_Frozen(), _WithSlots(), _WithStateOfItsOwn(), _DictConfig(), _ListOfOnesOwn([1])],
    "bytes and numbers": lambda: [b"ab", bytearray(b"c"), 1j, 2**300, -(2**70)],
    "torch's own": lambda: [torch.Size([1]), torch.device("cpu"), torch.float16, torch.nn.Parameter(torch.ones(2))],
    "tensors of rare kinds": lambda: [
        torch.eye(3).to_sparse(),
        torch.ones(3, dtype=torch.uint16),
        torch.ones(3).to(torch.float8_e4m3fn),
        torch.ones(2, device="meta"),
    ],
    "modules": lambda: [torch.nn.Linear(2, 2), torch.optim.SGD([torch.ones(1)], lr=0.1)],
}


@pytest.fixture(scope="module")
def net() -> LSeg:
    return random_network(SMALL)


@pytest.mark.parametrize("make", LEFT_BY_TRAININGS.values(), ids=LEFT_BY_TRAININGS)
@pytest.mark.parametrize(
    "options",
    [{}, {"pickle_protocol": 4}, {"_use_new_zipfile_serialization": False}],
    ids=["zip", "protocol 4", "old format"],
)
def test_what_trainings_leave_does_not_hide_the_network(
    make: Callable[[], object], options: dict[str, Any], net: LSeg, tmp_path: Path
) -> None:
    """At several places, also before the tensors and among the hyper-parameters."""
    content = {
        "best_score": make(),
        **lightning_checkpoint(net, callbacks={"ModelCheckpoint": {"best": [make()]}}),
    }
    content["hyper_parameters"]["more"] = make()
    torch.save(content, tmp_path / "trained.ckpt", **options)
    checkpoint = read_checkpoint(tmp_path / "trained.ckpt")
    expected = langseg_tensors(net)
    assert checkpoint.tensors.keys() == expected.keys()
    assert all(torch.equal(checkpoint.tensors[key], value) for key, value in expected.items())
    assert checkpoint.hyper_parameters["activation"] == net.architecture.activation


def test_hyper_parameters_in_a_namespace_are_read(net: LSeg, tmp_path: Path) -> None:
    """As scripts without Lightning store their arguments."""
    arguments = argparse.Namespace(arch_option=1, block_depth=2, activation="tanh", lr=np.float64(0.1))
    torch.save(lightning_checkpoint(net, hyper_parameters=arguments), tmp_path / "script.pt")
    found = read_checkpoint(tmp_path / "script.pt").hyper_parameters
    assert (found["arch_option"], found["block_depth"], found["activation"]) == (1, 2, "tanh")


def test_tensors_that_are_parameters_with_attributes_are_read(net: LSeg, tmp_path: Path) -> None:
    tensors: dict[str, torch.Tensor] = {}
    for key, value in langseg_tensors(net).items():
        tensors[key] = torch.nn.Parameter(value) if value.is_floating_point() else value
        tensors[key].decay = np.float32(0.1)  # type: ignore[attr-defined]
    torch.save(tensors, tmp_path / "parameters.pt")
    found = read_checkpoint(tmp_path / "parameters.pt").tensors
    assert all(torch.equal(found[key], value) for key, value in tensors.items())
    assert not any(value.requires_grad for value in found.values())


class _Call:
    """Unpickling this calls a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


ATTACKS: dict[str, Callable[[Path], _Call]] = {
    "os.system": lambda trace: _Call(os.system, f"touch {trace}"),
    "eval": lambda trace: _Call(eval, f"__import__('os').system('touch {trace}')"),
    "exec": lambda trace: _Call(exec, f"open({str(trace)!r}, 'w').close()"),
    "open": lambda trace: _Call(open, str(trace), "w"),
    "Popen": lambda trace: _Call(subprocess.Popen, ["touch", str(trace)]),
    "partial": lambda trace: _Call(functools.partial(os.system, f"touch {trace}")),
}
PLACES: dict[str, Callable[[LSeg, _Call], object]] = {
    "a callback": lambda net, attack: lightning_checkpoint(net, callbacks={"x": attack}),
    "in front": lambda net, attack: [attack, lightning_checkpoint(net)],
    "a key": lambda net, attack: lightning_checkpoint(net, callbacks={attack: 1}),
    "among the tensors": lambda net, attack: {**langseg_tensors(net), "scratch.head1.bias": attack},
    "alone": lambda net, attack: attack,
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old format"])
def test_a_file_that_would_run_something_is_refused_by_its_name(
    attack: str, zipped: bool, net: LSeg, tmp_path: Path
) -> None:
    trace, path = tmp_path / "ran", tmp_path / "evil.ckpt"
    for content in PLACES.values():
        torch.save(content(net, ATTACKS[attack](trace)), path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(path)
        assert "evil.ckpt: not a checkpoint to trust: it names " in str(caught.value)
        assert "weights_only" not in str(caught.value)
        assert not trace.exists()


def test_functions_of_torch_that_read_files_are_not_called(net: LSeg, tmp_path: Path) -> None:
    """They are no names that are refused, so the file is read, and nothing of theirs runs."""
    torch.save({"secret": 1}, tmp_path / "other.pt")
    attack = _Call(torch.load, str(tmp_path / "absent.pt"))
    torch.save({"a": attack, **lightning_checkpoint(net, callbacks={"b": [attack]})}, tmp_path / "evil.ckpt")
    assert len(read_checkpoint(tmp_path / "evil.ckpt").tensors) == len(langseg_tensors(net))


def _global(module: str, name: str) -> bytes:
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


HAND_MADE: dict[str, bytes] = {
    # The attributes of a function or class of torch, which would stay changed in this process.
    "attributes of a function": _global("torch._utils", "_rebuild_tensor_v2") + b"N}" + _text("__doc__") + b"Ns\x86b",
    "attributes of a class": _global("torch.nn.parameter", "Parameter") + b"N}" + _text("__doc__") + b"Ns\x86b",
    "by dots": b"\x80\x04" + _text("torch") + _text("os.system") + b"\x93" + _text("true") + b"\x85R",
    "what getattr finds": _global("__builtin__", "getattr")
    + _global("torch", "os")
    + _text("system")
    + b"\x86R"
    + _text("true")
    + b"\x85R",
    "an extension": b"\x82\x01",
    "an unknown storage": b"(" + _text("storage") + _global("os", "system") + _text("0") + _text("cpu") + b"K\x01tQ",
    "memory by a number": b"Nr\xfe\xff\xff\xff",
    "memory by a text": b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b"a",
    "memory by an array": _global("__builtin__", "bytearray") + b"\x8a\x06\x00\x00\x00\x00\x00\x40\x85R",
    "memory by a tensor": _global("torch._utils", "_rebuild_meta_tensor_no_storage") + b")R",
    "lists in lists": b"]" * 200_000 + b"a" * 199_999,
    "tuples in tuples as a key": b"})" + b"\x85" * 500_000 + b"Ns",
    "tuples in tuples as a storage": b"("
    + _text("storage")
    + _global("torch", "FloatStorage")
    + b")"
    + b"\x85" * 500_000
    + _text("cpu")
    + b"K\x01tQ",
    "tuples that double": b")" + b"q\x00h\x00\x86" * 90 + b"0}h\x00Ns",
    "cut": b"\x80\x02}q\x00X\x05",
    "an operator that is none": b"\xff",
}


@pytest.mark.parametrize("instructions", HAND_MADE.values(), ids=HAND_MADE)
def test_pickles_that_no_program_writes_are_refused(instructions: bytes, tmp_path: Path) -> None:
    before = torch._utils._rebuild_tensor_v2.__doc__, torch.nn.Parameter.__doc__
    path = tmp_path / "odd.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("odd/data.pkl", b"\x80\x02" + instructions + b".")
        archive.writestr("odd/version", "3\n")
    with pytest.raises(CheckpointError, match=r"odd\.pt: not "):
        read_checkpoint(path)
    path.write_bytes(b"\x80\x02" + instructions + b".")
    with pytest.raises(CheckpointError, match=r"odd\.pt: not "):
        read_checkpoint(path)
    assert (torch._utils._rebuild_tensor_v2.__doc__, torch.nn.Parameter.__doc__) == before


def test_the_attack_of_these_tests_does_run_in_a_plain_unpickler(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    pickle.loads(pickle.dumps(ATTACKS["os.system"](trace)))
    assert trace.exists()
