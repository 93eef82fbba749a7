"""The files in deploy/watching: alerts that fire when they should, and a dashboard that is current."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import PROJECT

WATCHING = PROJECT / "deploy" / "watching"
SOURCES = (PROJECT / "handler" / "metrics.py", PROJECT / "handler" / "watching" / "request_metrics.py")


def _promtool(*arguments: str) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("there is no promtool on the PATH (Debian's package prometheus has it)")
    run = subprocess.run([program, *arguments], cwd=WATCHING, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def _alerts() -> list[str]:
    groups = yaml.safe_load((WATCHING / "alerts.yml").read_text())["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"]]


def test_prometheus_takes_the_configuration() -> None:
    assert "SUCCESS" in _promtool("check", "config", "prometheus.yml")


def test_alerts_fire_when_they_should_and_only_then() -> None:
    assert "SUCCESS" in _promtool("test", "rules", "tests.yml")


def test_the_tests_of_alerts_can_fail(tmp_path: Path) -> None:
    """With a threshold that nothing reaches, the case in which an alert fires fails."""
    for path in WATCHING.glob("*.yml"):
        shutil.copyfile(path, tmp_path / path.name)
    alerts = (tmp_path / "alerts.yml").read_text()
    (tmp_path / "alerts.yml").write_text(alerts.replace("mean5m > 5", "mean5m > 5000"))
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("there is no promtool on the PATH (Debian's package prometheus has it)")
    run = subprocess.run([program, "test", "rules", "tests.yml"], cwd=tmp_path, capture_output=True, check=False)
    assert run.returncode != 0


def test_each_alert_is_tested_in_both_ways_and_explained() -> None:
    cases = yaml.safe_load((WATCHING / "tests.yml").read_text())["tests"]
    tested = [rule for case in cases for rule in case.get("alert_rule_test", [])]
    page = (PROJECT / "docs" / "watching.md").read_text(encoding="utf-8")
    assert len(_alerts()) > 5
    for alert in _alerts():
        own = [bool(rule.get("exp_alerts")) for rule in tested if rule["alertname"] == alert]
        assert True in own and False in own, alert
        assert f"`{alert}`" in page
    assert set(re.findall(r"^\| `(LSeg\w+)` \| (?:critical|warning)", page, re.MULTILINE)) == set(_alerts())


def test_nothing_is_asked_for_that_no_worker_reports() -> None:
    reported = {name for source in SOURCES for name in re.findall(r'"(LSeg\w+)"', source.read_text(encoding="utf-8"))}
    for path in (*WATCHING.glob("*.yml"), WATCHING / "dashboard.json"):
        text = path.read_text(encoding="utf-8")
        asked = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\b(LSeg\w+)[{\[)]", text)}
        assert asked <= reported, path.name
    assert reported


def test_the_dashboard_is_what_its_generator_writes() -> None:
    pytest.importorskip("grafana_foundation_sdk", reason="grafana-foundation-sdk is not installed")
    code = "import make_dashboard, sys; sys.stdout.write(make_dashboard.make_dashboard())"
    run = subprocess.run([sys.executable, "-c", code], cwd=WATCHING, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == json.loads((WATCHING / "dashboard.json").read_text())
