"""What a check of a device found, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Check:
    """One thing that was tried. What serving does not use cannot fail the report: `needed` is false then."""

    name: str
    passed: bool
    found: str
    needed: bool = True


@dataclass(frozen=True)
class Report:
    """All that a check of a device found."""

    device: str
    versions: Mapping[str, str]
    environment: Mapping[str, str]  # the variables that the device's software reads
    checks: tuple[Check, ...]
    types: Mapping[str, int] = field(default_factory=dict)  # calls of the image network by "operator type"
    fallbacks: Mapping[str, int] = field(default_factory=dict)  # calls on the host by operator
    milliseconds: Mapping[str, float] = field(default_factory=dict)  # of a step, the median
    memory_bytes: Mapping[str, int] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # the same with one setting changed

    @property
    def passed(self) -> bool:
        """Whether every check passed that serving needs."""
        return all(check.passed for check in self.checks if check.needed)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        return {"passed": self.passed, **asdict(self)}

    def lines(self) -> Iterator[str]:
        """The report for people."""
        yield f"device: {self.device}"
        yield from _table("versions", self.versions)
        yield from _table("environment", self.environment)
        yield "checks:"
        for check in self.checks:
            verdict = "passed" if check.passed else "FAILED" if check.needed else "failed, but not used"
            yield f"  {check.name}: {verdict}; {check.found}"
        yield from _table("types of the image network", self.types)
        yield from _table("on the host", self.fallbacks)
        yield from _table("milliseconds", {name: f"{value:.2f}" for name, value in self.milliseconds.items()})
        yield from _table("memory in MB", {name: f"{value / 1e6:.0f}" for name, value in self.memory_bytes.items()})
        for name, found in self.variants.items():
            yield from _table(f"with {name}", found)
        needed = [check for check in self.checks if check.needed]
        yield f"{sum(check.passed for check in needed)} of {len(needed)} checks passed"


def _table(title: str, rows: Mapping[str, object]) -> Iterator[str]:
    if rows:
        yield f"{title}:"
        yield from (f"  {name}: {value}" for name, value in rows.items())
