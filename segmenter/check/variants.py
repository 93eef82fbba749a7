"""The doubtful settings of a Gaudi, each tried in a process of its own: most are read when the bridge is loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_REQUESTS = 10
_SECONDS = 3600
_WORDS = 300  # of an error: its last line, cut


@dataclass(frozen=True)
class _Variant:
    config: Mapping[str, Any] = field(default_factory=dict)  # keys of the section lseg
    hpu: Mapping[str, Any] = field(default_factory=dict)  # keys of lseg.hpu
    environment: Mapping[str, str] = field(default_factory=dict)


VARIANTS: Mapping[str, _Variant] = {
    "attention-fused": _Variant(hpu={"attention": "fused"}),
    "attention-products": _Variant(hpu={"attention": "products"}),
    "float32": _Variant(hpu={"bfloat16": False}),
    "lazy": _Variant({"hpu_mode": "lazy"}),
    "graphs": _Variant({"hpu_mode": "graphs"}),
    "eager": _Variant({"hpu_mode": "eager"}),
    "weights-not-shared": _Variant(environment={"PT_HPU_WEIGHT_SHARING": "0"}),
    "precise-division": _Variant(environment={"PT_HPU_ENABLE_DIV_PRECISE": "1"}),
}


def try_variants(names: str, document: Mapping[str, Any], model: Path) -> dict[str, Mapping[str, Any]]:
    """What a check finds with one setting of `document` changed, for each of the variants that `names` lists.

    Raises:
        ValueError: an unknown variant.
    """
    chosen = list(VARIANTS) if names == "all" else [] if names == "none" else names.split(",")
    for name in chosen:
        if name not in VARIANTS:
            raise ValueError(f"--variants has {name!r}; accepted: all, none, or of {', '.join(VARIANTS)}")
    return {name: _tried(VARIANTS[name], document, model) for name in chosen}


def _tried(variant: _Variant, document: Mapping[str, Any], model: Path) -> Mapping[str, Any]:
    """The figures of one variant, or why it does not run."""
    with tempfile.TemporaryDirectory(prefix="lseg-") as folder:
        config, report = Path(folder, "model-config.yaml"), Path(folder, "report.json")
        config.write_text(yaml.safe_dump(_changed(variant, document)), encoding="utf-8")
        command = [sys.executable, "-m", "lseg_serve.segmenter", "check-device", "--variants", "none"]
        command += ["--requests", str(_REQUESTS), "--config", str(config), "--model", str(model), "--json", str(report)]
        try:
            done = subprocess.run(
                command, env={**os.environ, **variant.environment}, capture_output=True, text=True, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired:
            return {"error": f"not done in {_SECONDS} s"}
        if not report.exists():
            return {"error": (done.stderr.strip().splitlines() or ["no message"])[-1][:_WORDS]}
        found = json.loads(report.read_text(encoding="utf-8"))
    checks = {check["name"]: check["found"] for check in found["checks"] if check["needed"]}
    kept = ("warm-up", "compilations after warm-up", "operators on the host", "accuracy against the CPU")
    return {name: checks[name] for name in kept if name in checks} | {
        "failed": [check["name"] for check in found["checks"] if check["needed"] and not check["passed"]],
        "milliseconds": found["milliseconds"],
    }


def _changed(variant: _Variant, document: Mapping[str, Any]) -> dict[str, Any]:
    section = dict(document.get("lseg") or {})
    hpu = {**(section.get("hpu") or {}), **variant.hpu}
    return {**document, "lseg": {**section, **variant.config, **({"hpu": hpu} if hpu else {})}}
