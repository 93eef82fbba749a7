"""The manifests of deploy/batch: their commands are known, shards are shared out whole, and schemas accept them."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lseg_serve.cli.batch import add_arguments
from tests.conftest import PROJECT
from tests.support.crds import schema_of

FOLDER = PROJECT / "deploy" / "batch"
CRDS = "LSEG_CRDS"  # as in test_kubernetes.py


def _document(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def _read(words: list[str]) -> argparse.Namespace:
    assert words[:2] == ["lseg", "batch"]
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words[2:])


def test_the_pods_of_a_job_take_every_shard_once() -> None:
    job = _document("base/job.yaml")["spec"]
    (container,) = job["template"]["spec"]["containers"]
    (variable,) = container["env"]
    assert "job-completion-index" in variable["valueFrom"]["fieldRef"]["fieldPath"]
    taken: list[int] = []
    for index in range(job["completions"]):
        words = [word.replace(f"$({variable['name']})", str(index)) for word in container["args"]]
        first, every = _read([*container["command"], *words]).part
        taken += range(first, 100, every)
    assert sorted(taken) == list(range(100))


def test_a_refusal_ends_the_job_and_a_lost_node_does_not() -> None:
    ignored, refused = _document("base/job.yaml")["spec"]["podFailurePolicy"]["rules"]
    assert ignored["action"] == "Ignore" and ignored["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert refused["action"] == "FailJob" and refused["onExitCodes"]["values"] == [2, 3]


def test_a_ray_job_runs_a_command_that_is_known() -> None:
    job = _document("rayjob.yaml")["spec"]
    read = _read(job["entrypoint"].split())
    assert (read.ray, read.labels[0], read.shard, read.part) == ("auto", "sky", None, None)
    assert job["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


@pytest.mark.parametrize(
    ("path", "card", "tag"),
    [
        ("overlays/cpu", None, "cpu"),
        ("overlays/cuda", "nvidia.com/gpu", "cuda"),
        ("overlays/gaudi", "habana.ai/gaudi", "gaudi"),
    ],
)
def test_jobs_pass_the_schemas_of_kubernetes(path: str, card: str | None, tag: str, tmp_path: Path) -> None:
    for program in ("kubectl", "kubernetes-validate"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program} on the PATH; `make test-kubernetes` installs it")
    build = ["kubectl", "kustomize", str(FOLDER / path)]
    text = subprocess.run(build, capture_output=True, text=True, check=True).stdout
    (tmp_path / "all.yaml").write_text(text)
    run = subprocess.run(
        ["kubernetes-validate", "--strict", str(tmp_path / "all.yaml")], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    (container,) = yaml.safe_load(text)["spec"]["template"]["spec"]["containers"]
    limits = container["resources"]["limits"]
    assert container["image"] == f"lseg:{tag}"
    assert {key for key in limits if key in ("nvidia.com/gpu", "habana.ai/gaudi")} == ({card} if card else set())


def test_the_ray_job_passes_the_schema_of_kuberay(tmp_path: Path) -> None:
    if CRDS not in os.environ or shutil.which("check-jsonschema") is None:
        pytest.skip(f"{CRDS} names no folder with ray.io_rayjobs.yaml of KubeRay, or there is no check-jsonschema")
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(schema_of(Path(os.environ[CRDS]) / "ray.io_rayjobs.yaml", "v1")))
    command = ["check-jsonschema", "--schemafile", str(schema), str(FOLDER / "rayjob.yaml")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
