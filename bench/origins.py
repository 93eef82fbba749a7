"""Where each file of results comes from: the commit that was measured, and the machine it ran on."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from lseg_serve.bench.machine import Machine
from lseg_serve.bench.rows import RESULTS

ORIGINS = "origins.json"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Origin:
    """The origin of one CSV file. `commit` is a short hash, with `-changed` where files differed from it."""

    commit: str
    machine: Machine


def save_origin(name: str, origin: Origin, folder: Path = RESULTS) -> None:
    """Note the origin of `name`.csv; those of other files stay as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    origins = {**load_origins(folder), name: origin}
    # One line for each file, so that a new measurement changes one line.
    lines = [f" {json.dumps(key)}: {json.dumps(asdict(value))}" for key, value in sorted(origins.items())]
    (folder / ORIGINS).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def load_origins(folder: Path = RESULTS) -> dict[str, Origin]:
    """The origins by name of the CSV file; empty where none are noted."""
    path = folder / ORIGINS
    if not path.exists():
        return {}
    documents = json.loads(path.read_text(encoding="utf-8"))
    return {name: Origin(values["commit"], Machine.from_dict(values["machine"])) for name, values in documents.items()}


def current_commit(project: Path) -> str:
    """The commit of the checkout `project`; `unknown` where there is no git, or no checkout."""
    command = ["git", "-C", str(project), "describe", "--always", "--exclude=*", "--dirty=-changed"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN
