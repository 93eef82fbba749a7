"""The file config.properties as TorchServe reads it, with the environment variables that override it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# A key, then "=", ":" or a space, then its value. Lines that begin with "#" or "!" are comments.
_LINE = re.compile(r"\s*([^\s=:#!][^\s=:]*)\s*[=:\s]\s*(.*?)\s*")
_VARIABLE = re.compile(r"\$\$([^$]+)\$\$")


@dataclass(frozen=True)
class Settings:
    """What a TorchServe with this file and in this environment is set to."""

    file: Path
    lines: Mapping[str, str]
    environment: Mapping[str, str]

    @classmethod
    def read(cls, file: Path, environment: Mapping[str, str]) -> Settings:
        """Read `file`.

        Raises:
            OSError: it cannot be read.
        """
        text = file.read_text(encoding="utf-8", errors="replace")
        lines = {match[1]: match[2] for line in text.splitlines() if (match := _LINE.fullmatch(line))}
        lines = {key: _VARIABLE.sub(lambda name: environment.get(name[1], ""), value) for key, value in lines.items()}
        return cls(file, lines, environment)

    @property
    def follows_environment(self) -> bool:
        """Whether the file lets `TS_...` variables override it."""
        return self.lines.get("enable_envvars_config", "false").lower() == "true"

    def source(self, key: str) -> str:
        """Where the value of `key` comes from, in words for a message."""
        return variable_of(key) if self._overridden(key) else f"{key} in {self.file}"

    def get(self, key: str, default: str) -> str:
        """The value of `key`: of the environment, else of the file, else `default`."""
        return self.environment[variable_of(key)] if self._overridden(key) else self.lines.get(key, default)

    def _overridden(self, key: str) -> bool:
        return self.follows_environment and variable_of(key) in self.environment


def variable_of(key: str) -> str:
    """The environment variable that overrides `key`."""
    return f"TS_{key.upper()}"
