"""The manifests of deploy/kubernetes: what they say of the image and of the front holds, and they pass the schemas."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lseg_serve.cli.main import main as lseg
from lseg_serve.front.__main__ import main as front
from tests.conftest import PROJECT
from tests.support.crds import schema_of

FOLDER = PROJECT / "deploy" / "kubernetes"
WHOLE = ["overlays/cpu", "overlays/cuda", "overlays/gaudi", "canary", "kserve/cpu", "kserve/cuda", "kserve/gaudi"]
SOURCES = (PROJECT / "handler" / "watching" / "request_metrics.py", PROJECT / "docs" / "watching.md")
# Where the definitions of KServe's and KEDA's kinds are, which this project does not bring along.
CRDS = "LSEG_CRDS"
DEFINITIONS = {
    "InferenceService": ("serving.kserve.io_inferenceservices.yaml", "v1beta1"),
    "ScaledObject": ("keda.sh_scaledobjects.yaml", "v1alpha1"),
}


def _document(path: str) -> Any:
    return yaml.safe_load((FOLDER / path).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    """The specification of the pod that all devices share."""
    specification: dict[str, Any] = _document("base/deployment.yaml")["spec"]["template"]["spec"]
    return specification


def _container(pod: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in pod["containers"] + pod["initContainers"] if one["name"] == name]
    return dict(found)


def test_every_file_is_a_part_of_something_that_is_applied() -> None:
    named = set()
    for path in FOLDER.rglob("kustomization.yaml"):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        parts = [*document.get("resources", []), *document.get("components", [])]
        parts += [patch["path"] for patch in document.get("patches", []) if "path" in patch]
        for part in parts:
            target = (path.parent / part).resolve()
            assert target.exists(), f"{path}: {part}"
            named.add(target / "kustomization.yaml" if target.is_dir() else target)
    tops = {FOLDER / path / "kustomization.yaml" for path in WHOLE}
    assert set(FOLDER.rglob("*.yaml")) == named | tops


def test_the_front_of_the_pod_is_rendered_by_these_words(pod: dict[str, Any], tmp_path: Path) -> None:
    container = _container(pod, "configuration")
    assert container["command"] == ["python", "-m", "lseg_serve.front", "render"]
    output = tmp_path / "nginx.conf"
    words = [word.replace("/front/nginx.conf", str(output)) for word in container["args"]]
    assert front(["render", *words]) == 0
    port = _container(pod, "kserve-container")["ports"][0]["containerPort"]
    text = output.read_text()
    assert f"listen 0.0.0.0:{port} backlog" in text
    assert "server 127.0.0.1:8080 " in text
    assert "server 127.0.0.1:8070;" in text
    server = {one["name"]: one["value"] for one in _container(pod, "server")["env"]}
    assert server["TS_INFERENCE_ADDRESS"] == "http://127.0.0.1:8080"


def test_the_programs_of_the_pod_know_their_options(pod: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` behind them: an option that is not known would be told first, with another status."""
    for run, words in ((lseg, ["run", *_container(pod, "server")["args"]]), (front, _checker(pod))):
        with pytest.raises(SystemExit) as stopped:
            run([*words, "--no-such-option"])
        assert stopped.value.code == 2
        assert capsys.readouterr().err.rstrip().endswith("unrecognized arguments: --no-such-option")


def _checker(pod: dict[str, Any]) -> list[str]:
    container = _container(pod, "checker")
    assert container["command"][:3] == ["python", "-m", "lseg_serve.front"]
    return [*container["command"][3:], *container["args"]]


def test_a_pod_has_time_for_its_last_answers(pod: dict[str, Any]) -> None:
    words = _container(pod, "server")["args"]
    answers = int(words[words.index("--answer-seconds") + 1])
    pauses = {one["name"]: one["lifecycle"]["preStop"]["sleep"]["seconds"] for one in pod["containers"]}
    assert pauses["kserve-container"] < min(pauses["server"], pauses["checker"]), "nginx goes first"
    assert pod["terminationGracePeriodSeconds"] > max(pauses.values()) + answers
    config = yaml.safe_load((PROJECT / "config" / "model-config.yaml").read_text())
    assert answers >= config["responseTimeout"]
    probe = _container(pod, "server")["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= config["startupTimeout"]
    assert config["minWorkers"] == config["maxWorkers"] == 1, "a pod has one worker"


def test_nothing_in_a_pod_has_rights(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    for container in pod["containers"] + pod["initContainers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
    assert pod["containers"][0]["name"] == "kserve-container", "KServe sends requests to the first one"


def _queries() -> Iterator[str]:
    for trigger in _document("components/scaling/scaledobject.yaml")["spec"]["triggers"]:
        yield trigger["metadata"]["query"]
    predictor = _document("components/kserve/inferenceservice.yaml")["spec"]["predictor"]
    for metric in predictor["autoScaling"]["metrics"]:
        yield metric["external"]["metric"]["query"]


def test_pods_are_scaled_by_what_a_server_reports(tmp_path: Path) -> None:
    reported = "".join(path.read_text(encoding="utf-8") for path in SOURCES)
    queries = list(_queries())
    assert len(queries) == 4
    for query in queries:
        names = re.findall(r"\b(LSeg\w+|ts_\w+)\{", query)
        assert names
        assert all(f'"{name}"' in reported or f"`{name}`" in reported for name in names), query
        assert set(re.findall(r"\{(.*?)\}", query)) == {
            f'job="{_document("prometheus-job.yml")["scrape_configs"][0]["job_name"]}"'
        }
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("there is no promtool on the PATH (Debian's package prometheus has it)")
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    run = subprocess.run([program, "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def _program(name: str) -> str:
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"there is no {name} on the PATH; `make test-kubernetes` installs it")
    return program


def _built(path: str) -> str:
    """All that is applied by `path`, as one file."""
    run = subprocess.run(
        [_program("kubectl"), "kustomize", str(FOLDER / path)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("path", WHOLE)
def test_manifests_pass_the_schemas_of_kubernetes(path: str, tmp_path: Path) -> None:
    text = _built(path)
    documents = list(yaml.safe_load_all(text))
    file = tmp_path / "all.yaml"
    file.write_text(text)
    _passes(_program("kubernetes-validate"), "--strict", str(file))
    kinds = [document["kind"] for document in documents]
    assert ("InferenceService" in kinds) == path.startswith("kserve/")
    assert (
        ("Deployment" in kinds)
        == ("Service" in kinds)
        == ("ScaledObject" in kinds)
        == ("InferenceService" not in kinds)
    )
    for document in documents:
        if document["kind"] not in ("Deployment", "InferenceService"):
            continue
        pod = document["spec"]["predictor" if document["kind"] == "InferenceService" else "template"]
        pod = pod.get("spec", pod)
        limits = _container(pod, "server")["resources"]["limits"]
        device = path.rpartition("/")[2]
        assert limits.get("habana.ai/gaudi") == (1 if device == "gaudi" else None)
        assert limits.get("nvidia.com/gpu") == (1 if device == "cuda" else None)
        assert _container(pod, "server")["image"] == f"lseg:{device if device in ('cuda', 'gaudi') else 'cpu'}"
        archive = _container(pod, "server")["args"][-1]
        assert archive == ("lseg=canary.mar" if document["metadata"]["name"] == "lseg-canary" else "lseg=lseg.mar")


@pytest.mark.parametrize("path", WHOLE)
def test_what_kserve_and_keda_read_passes_their_schemas(path: str, tmp_path: Path) -> None:
    program = _program("check-jsonschema")
    if CRDS not in os.environ:
        pytest.skip(f"{CRDS} names no folder with the definitions of KServe and KEDA (docs/kserve.md)")
    checked = 0
    for document in yaml.safe_load_all(_built(path)):
        if document["kind"] not in DEFINITIONS:
            continue
        name, version = DEFINITIONS[document["kind"]]
        schema, file = tmp_path / "schema.json", tmp_path / "manifest.json"
        schema.write_text(json.dumps(schema_of(Path(os.environ[CRDS]) / name, version)))
        file.write_text(json.dumps(document))
        _passes(program, "--schemafile", str(schema), str(file))
        document["spec"]["maxReplica"] = 3
        file.write_text(json.dumps(document))
        run = subprocess.run([program, "--schemafile", str(schema), str(file)], capture_output=True, check=False)
        assert run.returncode != 0, "a misspelt member has to be found"
        checked += 1
    assert checked == 1


def _passes(*command: str) -> None:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
