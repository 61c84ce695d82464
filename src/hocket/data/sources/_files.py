"""Bytes of a file by offset, in any process and thread.

Reads go through ``pread``, which moves no shared position, so a handle inherited by a fork is safe;
what is pickled is a path, so a spawned worker opens its own. A mapping of the file into memory
would be as fast, but a file that is cut off while a run reads it would then kill the worker.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

from hocket._errors import DataError

# Shards of one data set can be more than a process may hold open.
OPEN_FILES = 128


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file as it was when the data set was opened.

    Attributes:
        path: where it is.
        size: its bytes.
        changed: time of its last change, in nanoseconds.
    """

    path: Path
    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> DataFile:
        """Look at a file.

        Raises:
            DataError: it cannot be looked at.
        """
        try:
            status = path.stat()
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}). Check it.") from error
        return cls(path, status.st_size, status.st_mtime_ns)

    def read(self, at: int, count: int) -> bytes:
        """Return ``count`` bytes from offset ``at`` on.

        Raises:
            DataError: the file is gone, not readable, was changed or is shorter than it was.
        """
        try:
            # Held by name: another thread may push it out of the cache, which would close it.
            handle = _opened(self)
            data = os.pread(handle.number, count, at)
            while len(data) < count:
                more = os.pread(handle.number, count - len(data), at + len(data))
                if not more:
                    raise DataError(
                        f"{self.path} ends at byte {at + len(data)}, expected {at + count}: it was "
                        f"cut off after it was opened. Copy it again and restart."
                    )
                data += more
        except OSError as error:
            raise DataError(f"{self.path} cannot be read ({error.strerror}). Check it.") from error
        return data


class _Handle:
    """An open file, closed when nobody reads from it any more."""

    def __init__(self, path: Path) -> None:
        self.number = -1
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


@functools.lru_cache(maxsize=OPEN_FILES)
def _opened(file: DataFile) -> _Handle:
    handle = _Handle(file.path)
    status = os.fstat(handle.number)
    if (status.st_size, status.st_mtime_ns) != (file.size, file.changed):
        raise DataError(
            f"{file.path} was changed after it was opened ({file.size} bytes then, "
            f"{status.st_size} now). Start again, so that its rows are counted anew."
        )
    return handle
