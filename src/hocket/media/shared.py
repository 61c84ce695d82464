"""Memory that two processes see, for what is too large to be sent.

Knows bytes; must not know what they mean.
"""

from __future__ import annotations

import mmap
import os
import platform
import tempfile
from collections.abc import Sequence

# Memory larger than this is given back when far less is needed.
_KEPT_BYTES = 64 * 2**20


class Shared:
    """Memory of two processes, as large as the writer makes it; an open file without a name.

    Args:
        number: its file descriptor, which this object owns.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._map: mmap.mmap | None = None

    @classmethod
    def new(cls) -> Shared:
        """Return empty shared memory."""
        if platform.system() == "Linux":
            return cls(os.memfd_create("hocket-media", os.MFD_CLOEXEC))
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()))

    def write(self, parts: Sequence[memoryview], *, at: int) -> int:
        """Put bytes there, one part behind the other, and return where they end.

        Args:
            parts: what is written.
            at: where it starts; at 0 nobody may need what was written before.
        """
        size = at + sum(part.nbytes for part in parts)
        if size == at:
            return at
        held = len(self._map) if self._map else 0
        if size > held or (at == 0 and held > max(4 * size, _KEPT_BYTES)):
            self._unmap()
            # Twice as much as before, since more will follow and the reader has to follow too.
            os.ftruncate(self.number, max(size, 2 * held) if at else size)
        memory = self._mapped(os.fstat(self.number).st_size)
        for part in parts:
            memory[at : at + part.nbytes] = part
            at += part.nbytes
        return at

    def read(self, sizes: Sequence[int], *, at: int) -> list[bytearray]:
        """Return copies of the parts that were put there."""
        held = os.fstat(self.number).st_size
        if self._map is not None and len(self._map) != held:
            self._unmap()
        found = []
        for size in sizes:
            found.append(bytearray(memoryview(self._mapped(held))[at : at + size] if size else 0))
            at += size
        return found

    def close(self) -> None:
        """Let go of it; the other process may still have it."""
        self._unmap()
        os.close(self.number)

    def _unmap(self) -> None:
        """Let go of this process's view of it."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def _mapped(self, size: int) -> mmap.mmap:
        if self._map is None:
            self._map = mmap.mmap(self.number, size)
        return self._map
