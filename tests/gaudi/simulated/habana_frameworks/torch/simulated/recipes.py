"""Compiled graphs: which are known in memory, which lie on disk, and what compiling an unknown one costs."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path

from habana_frameworks.torch.simulated.counts import GRAPHS, TOTALS, CompiledGraph
from habana_frameworks.torch.simulated.environment import SOFTWARE, number, rank, truthy
from habana_frameworks.torch.simulated.memory import MEMORY
from habana_frameworks.torch.utils.event_dispatcher import EventId, publish
from habana_frameworks.torch.utils.internal import is_lazy

_OLD_VARIABLES = ("PT_RECIPE_CACHE_PATH", "PT_CACHE_FOLDER_DELETE", "PT_CACHE_FOLDER_SIZE_MB")
_DEFAULT_MEGABYTES = "1024"


@dataclass(frozen=True)
class DiskConfig:
    """Where recipes are kept for other processes: the folder, whether to empty it first, and its limit."""

    path: Path
    delete: bool
    megabytes: int

    @classmethod
    def from_environment(cls) -> DiskConfig | None:
        """What PT_HPU_RECIPE_CACHE_CONFIG or the older variables say; None where there is no path.

        Raises:
            RuntimeError: a wrong number of fields.
        """
        text = os.environ.get("PT_HPU_RECIPE_CACHE_CONFIG", "")
        fields = text.split(",") if text else _old_fields()
        most = 3 if SOFTWARE < (1, 21) else 4  # the fourth says that the folder is on NFS, and changes nothing here
        if len(fields) > most:
            raise RuntimeError(
                "Expected number of parameters extracted from PT_HPU_RECIPE_CACHE_CONFIG "
                f"should be from range <1:{most}>."
            )
        path, delete, megabytes = (*fields, *("", "false", _DEFAULT_MEGABYTES)[len(fields) :])[:3]
        return cls(Path(path), truthy(delete), int(megabytes)) if path else None


def _old_fields() -> list[str]:
    for name in _OLD_VARIABLES:
        if name in os.environ:
            print(f"{name} flag is going to be deprecated, use PT_HPU_RECIPE_CACHE_CONFIG instead", file=sys.stderr)
    defaults = ("", "false", _DEFAULT_MEGABYTES)
    return [os.environ.get(name, default) for name, default in zip(_OLD_VARIABLES, defaults, strict=True)]


class Recipes:
    """Recipes by graph key: a bounded memory, least recently used out first, and a folder behind it."""

    def __init__(self) -> None:
        self.inference_mode = truthy(os.environ.get("PT_HPU_INFERENCE_MODE"))
        self._names: OrderedDict[Hashable, str] = OrderedDict()
        self._most = int(number("HABANA_PGM_LRU_MAX", 30_000 if is_lazy() else 100_000))
        self._bytes = int(number("SIMULATED_GAUDI_RECIPE_BYTES"))
        self._folder: Path | None = None
        self._folder_bytes = 0

    def open(self) -> None:
        """Read the configuration of the folder; called when the card is acquired."""
        config = DiskConfig.from_environment()
        if config is None:
            return
        self._folder = Path(f"{config.path}{rank()}") if self.inference_mode else config.path
        self._folder_bytes = config.megabytes * 2**20
        self._folder.mkdir(parents=True, exist_ok=True)
        if config.delete:
            for file in self._folder.glob("*.recipe"):
                file.unlink(missing_ok=True)

    def prepare(self, key: Hashable, graph: CompiledGraph) -> str:
        """Find or compile the recipe of `key`; `graph` describes it. Returns the recipe's name."""
        TOTALS.launches += 1
        name = self._names.get(key)
        if name is not None:
            self._names.move_to_end(key)
            self._hit(name)
            return name
        name = _name(key)
        if self._on_disk(name):
            self._hit(name)
        else:
            self._compile(name, replace(graph, recipe=name))
        self._remember(key, name)
        return name

    def forget(self) -> None:
        """Drop every recipe from memory, as a new process would have none; the folder stays."""
        while self._names:
            self._drop_oldest()

    def _hit(self, name: str) -> None:
        TOTALS.recipe_hits += 1
        publish(EventId.CACHE_HIT, recipe_id=name)

    def _compile(self, name: str, graph: CompiledGraph) -> None:
        TOTALS.recipe_misses += 1
        publish(EventId.CACHE_MISS, recipe_id=name)
        start = time.perf_counter_ns()
        seconds = number("SIMULATED_GAUDI_COMPILE_SECONDS")
        if seconds:
            time.sleep(seconds)
        TOTALS.compiles += 1
        TOTALS.compiled_operators += len(graph.operators)
        GRAPHS.append(graph)
        self._write(name, graph)
        duration = (time.perf_counter_ns() - start) // 1000
        publish(EventId.GRAPH_COMPILATION, duration=duration, recipe=name)

    def _remember(self, key: Hashable, name: str) -> None:
        MEMORY.allocate(self._bytes)
        self._names[key] = name
        if len(self._names) > self._most:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._names.popitem(last=False)
        MEMORY.free(self._bytes)

    def _on_disk(self, name: str) -> bool:
        return self._folder is not None and (self._folder / f"{name}.recipe").exists()

    def _write(self, name: str, graph: CompiledGraph) -> None:
        """Other processes may write the same file at the same time; each moves a whole one into place."""
        if self._folder is None:
            return
        draft = self._folder / f"{name}.{os.getpid()}"
        draft.write_text(f"{graph}\n", encoding="utf-8")
        draft.replace(self._folder / f"{name}.recipe")
        self._evict(self._folder)

    def _evict(self, folder: Path) -> None:
        files = []
        for file in folder.glob("*.recipe"):
            try:
                files.append((file.stat().st_mtime_ns, file.stat().st_size, file))
            except FileNotFoundError:  # another process evicted it
                continue
        total = sum(size for _, size, _ in files)
        for _, size, file in sorted(files)[:-1]:
            if total <= self._folder_bytes:
                return
            file.unlink(missing_ok=True)
            total -= size


def _name(key: Hashable) -> str:
    """The same in every process with the same mode, whatever its software and its other settings."""
    text = repr((is_lazy(), key))
    return f"recipe_{hashlib.sha256(text.encode()).hexdigest()[:16]}"


RECIPES = Recipes()
