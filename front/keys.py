"""The keys by which clients are known: made at random, kept as hashes in a file, compared in constant time."""

from __future__ import annotations

import hmac
import logging
import os
import re
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

_KEY: Final = re.compile(r"lseg_[A-Za-z0-9_-]{43}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_KEY_BYTES: Final = 32

logger = logging.getLogger(__name__)


class KeyFileError(Exception):
    """The file of keys, or what is to be written into it, is not accepted. The message says why."""


@dataclass(frozen=True)
class Keys:
    """Who may ask: pairs of a client's name and the SHA-256 of its key. A client may have several keys."""

    hashes: tuple[tuple[str, bytes], ...]

    @classmethod
    def read(cls, file: Path) -> Keys:
        """Read a file with a name and a SHA-256 in hexadecimal digits on each line; `#` begins a comment.

        Raises:
            KeyFileError: the file cannot be read, or a line is something else.
        """
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise KeyFileError(f"the keys in {file} cannot be read: {error}") from error
        hashes = []
        for number, line in enumerate(lines, 1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            if len(words) != 2 or not _NAME.fullmatch(words[0]) or not _HASH.fullmatch(words[1]):
                raise KeyFileError(
                    f"line {number} of {file} is no key; accepted: a name and the SHA-256 of its key, as "
                    "`python -m front key NAME` writes them"
                )
            hashes.append((words[0], bytes.fromhex(words[1])))
        return cls(tuple(hashes))

    def client(self, key: str) -> str | None:
        """The name of the client that `key` belongs to; None where it is nobody's.

        Every hash is compared, and each in constant time, so the time tells nothing of the keys.
        """
        found = None
        given = _hash(key)
        for name, known in self.hashes:
            if hmac.compare_digest(given, known):
                found = name
        return found if _KEY.fullmatch(key) else None


class KeyFile:
    """The keys of a file, read again where the file has changed. While it is damaged, the last good ones count."""

    def __init__(self, file: Path) -> None:
        """Read `file`.

        Raises:
            KeyFileError: it cannot be read.
        """
        self._file = file
        self._state = self._seen()
        self._keys = Keys.read(file)

    def keys(self) -> Keys:
        """The keys as they are now."""
        state = self._seen()
        if state != self._state:
            self._state = state
            try:
                self._keys = Keys.read(self._file)
            except KeyFileError as error:
                logger.error("%s; the keys before that change still count", error)
        return self._keys

    def _seen(self) -> tuple[int, int, int] | None:
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


def add_key(file: Path, name: str) -> str:
    """Make a key for the client `name`, write its hash to the end of `file`, and return the key.

    The key has 256 random bits, so a plain hash keeps it: there is nothing to guess, as there is in a password. A file
    that does not exist is made, for its owner's eyes alone.

    Raises:
        KeyFileError: the name is not accepted, or the file cannot be read or written.
    """
    if not _NAME.fullmatch(name):
        raise KeyFileError(f"{name!r} is no name; accepted: up to 64 letters, digits, '.', '_' and '-'")
    key = f"lseg_{secrets.token_urlsafe(_KEY_BYTES)}"
    try:
        with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "a+", encoding="utf-8") as stream:
            stream.seek(0)
            text = stream.read()
            start = "\n" if text and not text.endswith("\n") else ""
            stream.write(f"{start}{name} {_hash(key).hex()}\n")
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"the key cannot be written to {file}: {error}") from error
    return key


def _hash(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogatepass")).digest()
