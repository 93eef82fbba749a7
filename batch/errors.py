"""What ends a run as a whole. What is wrong with one image is no error of a run: it goes into the table of statuses."""

from __future__ import annotations


class BatchError(Exception):
    """A manifest, an output or an option that cannot be used; the message names it and what is accepted."""


class StoreError(Exception):
    """A store or disk that cannot be read or written now. What is done stays, and a next run goes on from there.

    `is_full` tells that it has no space left.
    """

    def __init__(self, message: str, *, is_full: bool = False) -> None:
        super().__init__(message)
        self.is_full = is_full
