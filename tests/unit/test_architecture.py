"""What a file states of its network is bounded, and agrees with its tensors, before anything is built of it."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from lseg_serve.model import PRESETS, Architecture, CheckpointError, LSeg
from lseg_serve.model.checkpoint_file import ARCHITECTURE_KEY
from tests.support.networks import SMALL, SMALL_RESNET, langseg_tensors, random_network

ODD: tuple[Any, ...] = (-1, 0.5, 10**9, 10**5000, "4", None, True, [4], {}, "x" * 10_000, float("nan"))


@pytest.mark.parametrize("name", [field.name for field in fields(Architecture)])
def test_no_value_of_any_size_can_be_odd(name: str) -> None:
    flag = name in ("batch_norm", "int8")
    for value in ODD:
        if flag and value is True:
            continue
        with pytest.raises(ValueError, match=f"{name} is .*; accepted: ") as caught:
            replace(SMALL, **{name: value})
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["resnet_blocks", "level_channels"])
@pytest.mark.parametrize("value", [(1, 2, 3), (1, 2, 3, 0), (1, 2, 3, 10**7), (1, 2, 3, "4"), ((1,), 2, 3, 4)])
def test_levels_are_four_counts(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} is "):
        replace(SMALL, **{name: value})  # type: ignore[arg-type]


def test_heads_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width is 128; accepted: a multiple of heads, 3"):
        replace(SMALL, heads=3)


def test_every_published_network_is_within_the_bounds() -> None:
    assert all(
        Architecture.from_dict(json.loads(json.dumps(preset.as_dict()))) == preset for preset in PRESETS.values()
    )


def _write(path: Path, stated: str, architecture: Architecture = SMALL) -> Path:
    save_file(langseg_tensors(random_network(architecture)), path, metadata={ARCHITECTURE_KEY: stated})
    return path


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("null", "the architecture is a NoneType; accepted: names and values"),
        ("[]", "the architecture is a list"),
        ("7", "the architecture is a int"),
        ("{", "not a readable checkpoint"),
        ("[" * 100_000, "not a readable checkpoint"),
        ('{"depth": 1000000}', "depth is 1000000; accepted: a whole number from 4 to 256"),
        ('{"depth": ' + "9" * 5000 + "}", "not a readable checkpoint"),
        ('{"depth": 1e999}', "depth is inf; accepted"),
        ('{"layers": 4}', "unknown architecture value 'layers'"),
        ('{"level_channels": [1, 2]}', r"level_channels is \(1, 2\); accepted: four whole numbers"),
    ],
)
def test_an_odd_statement_is_refused(stated: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        LSeg.from_checkpoint(_write(tmp_path / "odd.safetensors", stated))
    assert len(str(caught.value)) < 500


CHANGES: dict[str, Any] = {
    "depth": 256,
    "width": 16_384,
    "text_depth": 256,
    "vocabulary": 10_000_000,
    "position_grid": 1024,
    "features": 16_384,
    "embedding": 47,
    "level_channels": (1, 2, 3, 4),
    "batch_norm": False,
    "context_length": 4096,
    "patch_size": 8,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_statement_that_the_tensors_contradict_is_refused_before_a_network_is_built(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the bounds, too: nothing as large as what is stated is made."""
    path = _write(tmp_path / "other.safetensors", json.dumps(replace(SMALL, **{name: CHANGES[name]}).as_dict()))

    def refuse(*_: object) -> None:
        raise AssertionError("a network was built")

    monkeypatch.setattr(LSeg, "__init__", refuse)
    with pytest.raises(CheckpointError, match=f"the file states {name} .*, but its tensors have "):
        LSeg.from_checkpoint(path)


@pytest.mark.parametrize("architecture", [SMALL, SMALL_RESNET], ids=["vit", "resnet"])
def test_what_the_project_writes_is_read(architecture: Architecture, tmp_path: Path) -> None:
    path = _write(tmp_path / "own.safetensors", json.dumps(architecture.as_dict()), architecture)
    assert LSeg.from_checkpoint(path).architecture == architecture
