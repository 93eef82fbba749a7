"""Tries of a shard that ended with their process: a driver that failed, no memory left, a machine that is gone.

A try has a file while it lasts. One that is still there when the next begins tells that its process was killed. From
then on one image at a time is on its way, and the file names it, so that the next death names its image. That image was
there both times, and is given up.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import TracebackType

from lseg_serve.batch.errors import BatchError
from lseg_serve.batch.manifest import shard_name
from lseg_serve.batch.stores import Store

MOST = 20  # deaths over one shard


@dataclass
class Attempt:
    """One try of a shard, as a context."""

    store: Store
    shard: int
    deaths: int = 0
    killers: set[int] = field(default_factory=set)  # indices of images that are given up

    @property
    def is_careful(self) -> bool:
        """Whether one image at a time is to be on its way."""
        return self.deaths > 0

    @property
    def folder(self) -> str:
        """Where the tries of this shard have their files."""
        return f"attempts/{shard_name(self.shard)}"

    def __enter__(self) -> Attempt:
        """Look at the tries before, and begin this one.

        Raises:
            BatchError: too many processes were killed over this shard.
            StoreError: the store does not answer, or refuses.
        """
        for name in self.store.names(self.folder):
            self.deaths += 1
            index = json.loads(self.store.read(f"{self.folder}/{name}") or b"{}").get("image")
            if index is not None:
                self.killers.add(index)
        if self.deaths >= MOST:
            raise BatchError(
                f"shard {self.shard}: {self.deaths} processes were killed over it, see {self.store.url}/{self.folder}; "
                "`lseg batch retry` lets it be tried again"
            )
        self._mark({})
        return self

    def begun(self, index: int) -> None:
        """An image is on its way, alone.

        Raises:
            StoreError: as `__enter__`.
        """
        self._mark({"image": index})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forget this try, whatever its end: its process lives."""
        self.store.remove(self._name)
        self.store.prune(self.folder)

    def forget(self) -> None:
        """Forget all tries: the shard is done, or is to be tried from the beginning.

        Raises:
            StoreError: as `__enter__`.
        """
        for name in self.store.names(self.folder):
            self.store.remove(f"{self.folder}/{name}")
        self.store.prune(self.folder)

    @property
    def _name(self) -> str:
        return f"{self.folder}/{self.deaths + 1:02d}.json"

    def _mark(self, content: dict[str, int]) -> None:
        self.store.write(self._name, json.dumps(content).encode())
