"""What a medium is, by its bytes: a hash that is the same wherever a file lies.

Hashes of files are remembered beside their size and time of change, so that a data set is read for
them once. Knows media; must not open what is inside them.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from hocket._errors import MachineError
from hocket.chat.conversation import Medium
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.limits import DEFAULT_LIMITS
from hocket.media.where import Where

_DIGEST_BYTES = 16
_BLOCK_BYTES = 2**20
_WAIT_SECONDS = 60.0
_TABLE = (
    "CREATE TABLE IF NOT EXISTS files "
    "(path TEXT PRIMARY KEY, bytes INTEGER, changed INTEGER, hash TEXT) WITHOUT ROWID"
)
Result = TypeVar("Result")


class ContentHashes:
    """Hashes of media; those of files are kept in a file of their own.

    Args:
        file: where they are kept; it can always be deleted.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._opened: tuple[int, sqlite3.Connection] | None = None

    def __getstate__(self) -> dict[str, object]:
        """Leave the connection behind: each process opens its own."""
        return {"_file": self._file, "_opened": None}

    def of(self, medium: Medium) -> str:
        """Return the hash of a picture, sound or video, 32 hexadecimal digits.

        Raises:
            MediaError: a file is missing, unreadable or too large.
            MachineError: the hashes cannot be kept.
        """
        digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        if isinstance(medium, Image):
            self._add(digest, medium, medium.pixels, "")
        elif isinstance(medium, Audio):
            rate = "" if medium.wave is None else str(medium.rate)
            self._add(digest, medium, medium.wave, rate)
        elif medium.pictures:
            times = "" if medium.times is None else str(medium.times.tolist())
            digest.update(f"pictures {medium.picture_fps} {times}".encode())
            for picture in medium.pictures:
                digest.update(self._of_place(picture).encode())
        else:
            times = "" if medium.times is None else str(medium.times.tolist())
            self._add(digest, medium, medium.frames, times)
        return digest.hexdigest()

    def _add(
        self, digest: hashlib.blake2b, medium: Medium, array: np.ndarray | None, more: str
    ) -> None:
        """Put the bytes of a medium, or its array and what else belongs to that, into a hash."""
        if array is not None:
            digest.update(f"array {array.dtype} {array.shape} {more}".encode())
            digest.update(np.ascontiguousarray(array).data)
        elif medium.where.data is not None:
            digest.update(hashlib.blake2b(medium.where.data).digest())
        else:
            digest.update(self._of_place(medium.where).encode())

    def _of_place(self, where: Where) -> str:
        """Return the hash of bytes; a file is read anew only where size or time are others."""
        where.check(DEFAULT_LIMITS)
        if where.path is None:
            return hashlib.blake2b(where.data or b"", digest_size=_DIGEST_BYTES).hexdigest()
        path = str(where.path.absolute())
        now = where.path.stat()
        known = self._ask(
            lambda kept: kept.execute(
                "SELECT bytes, changed, hash FROM files WHERE path = ?", (path,)
            ).fetchone()
        )
        if known is not None and known[:2] == (now.st_size, now.st_mtime_ns):
            return str(known[2])
        digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        with where.open() as handle:
            while block := handle.read(_BLOCK_BYTES):
                digest.update(block)
        found = digest.hexdigest()
        row = (path, now.st_size, now.st_mtime_ns, found)
        put = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)"
        self._ask(lambda kept: kept.execute(put, row))
        return found

    def _ask(self, question: Callable[[sqlite3.Connection], Result]) -> Result:
        """Ask the file of hashes; one that is damaged is begun anew."""
        try:
            return question(self._connection())
        except sqlite3.OperationalError as error:
            raise self._unusable(error) from error
        except sqlite3.DatabaseError:
            self._opened = None
            self._file.unlink(missing_ok=True)
        try:
            return question(self._connection())
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error

    def _connection(self) -> sqlite3.Connection:
        # A connection must not be carried through a fork.
        if self._opened is None or self._opened[0] != os.getpid():
            kept = sqlite3.connect(self._file, timeout=_WAIT_SECONDS, isolation_level=None)
            # What a power cut loses is read again.
            kept.execute("PRAGMA synchronous = OFF")
            kept.execute(_TABLE)
            self._opened = (os.getpid(), kept)
        return self._opened[1]

    def _unusable(self, error: sqlite3.Error) -> MachineError:
        return MachineError(
            f"{self._file}, which keeps hashes of media, cannot be used: {error}. "
            "Delete it, or set HOCKET_CACHE to a folder that can be written."
        )
