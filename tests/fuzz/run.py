"""Many hostile requests by several clients, and a report of what came back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.hostile import hostile
from tests.fuzz.sending import Target, Verdict, judged

SEEDS = Path(__file__).with_name("seeds.txt")


@dataclass
class Report:
    """How many requests of each family had which status, in a word, and those at fault by seed and number."""

    statuses: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return sum(self.statuses.values())

    def lines(self) -> Iterator[str]:
        """The report, for people."""
        for family in sorted({family for family, _ in self.statuses}):
            counts = sorted((status, count) for (own, status), count in self.statuses.items() if own == family)
            yield f"{family:8} " + ", ".join(f"{count} x {status}" for status, count in counts)
        yield f"{self.requests} requests, {len(self.faults)} faults"
        yield from self.faults[:50]


def fuzz(target: Target, cases: Iterable[tuple[int, int]], clients: int = 4) -> Report:
    """Send the requests with these seeds and numbers, `clients` of them at a time."""
    report = Report()

    def one(case: tuple[int, int]) -> tuple[tuple[int, int], str, Verdict]:
        request = hostile(*case)
        try:
            answer = target.send(request)
        except TimeoutError as error:
            return case, request.family, Verdict(0, None if request.broken else f"no answer in time: {error}")
        return case, request.family, judged(request, answer, through_front=target.key is not None)

    with ThreadPoolExecutor(clients) as pool:
        for (seed, number), family, verdict in pool.map(one, cases):
            report.statuses[family, str(verdict.status or "closed")] += 1
            if verdict.fault is not None:
                report.faults.append(f"{seed}:{number} ({family}) {verdict.fault}")
    return report


def kept_cases() -> list[tuple[int, int]]:
    """The requests of seeds.txt, each of which was once a find or stands for a kind that is worth sending again."""
    lines = (line.partition("#")[0].strip() for line in SEEDS.read_text(encoding="utf-8").splitlines())
    return [(int(seed), int(number)) for seed, _, number in (line.partition(":") for line in lines if line)]
