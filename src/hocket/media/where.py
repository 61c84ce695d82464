"""Where the bytes of a medium are, and what error messages call them.

Knows files and bytes; must not know what is inside them.
"""

from __future__ import annotations

import io
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from hocket._errors import MediaError
from hocket.media.limits import Limits


@dataclass(frozen=True, slots=True)
class Where:
    """The place of some bytes; neither path nor data means an array in memory.

    Attributes:
        path: the file, if it is one.
        data: the bytes, if they are in memory.
        name: what error messages print.
    """

    path: Path | None
    data: bytes | None = field(repr=False)
    name: str

    @classmethod
    def of_path(cls, path: Path | str) -> Where:
        """Return the place of a file; the file is not touched."""
        return cls(path=Path(path), data=None, name=str(path))

    @classmethod
    def of_bytes(cls, data: bytes, name: str = "bytes") -> Where:
        """Return the place of bytes in memory, called ``name`` in messages."""
        return cls(path=None, data=bytes(data), name=name)

    @classmethod
    def of_array(cls, name: str) -> Where:
        """Return the place of something already decoded."""
        return cls(path=None, data=None, name=name)

    def check(self, limits: Limits) -> int:
        """Return the number of bytes, having looked at the file system only.

        Raises:
            MediaError: missing, a folder, unreadable, empty or over ``max_file_bytes``.
        """
        size = self._count_bytes()
        if size == 0:
            raise MediaError(f"{self.name}: the file is empty (0 bytes). Copy it again.")
        if size > limits.max_file_bytes:
            raise MediaError(
                f"{self.name}: {size} bytes, but at most {limits.max_file_bytes} are allowed. "
                f"Make the file smaller or raise max_file_bytes."
            )
        return size

    def open(self) -> BinaryIO:
        """Open the bytes for reading.

        Raises:
            MediaError: the file cannot be opened.
        """
        if self.data is not None:
            return io.BytesIO(self.data)
        if self.path is None:
            raise MediaError(f"{self.name}: an array has no bytes to open. Use load() instead.")
        try:
            return self.path.open("rb")
        except OSError as error:
            raise self._unreadable(error) from error

    def _count_bytes(self) -> int:
        if self.data is not None:
            return len(self.data)
        if self.path is None:
            raise MediaError(f"{self.name}: an array has no bytes to count. Use load() instead.")
        try:
            found = self.path.stat()
        # ValueError: a NUL inside the path
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        if stat.S_ISDIR(found.st_mode):
            raise MediaError(f"{self.name}: this is a folder, not a file. Name a file in it.")
        if not stat.S_ISREG(found.st_mode):
            raise MediaError(f"{self.name}: not a regular file. Copy it to one.")
        return found.st_size

    def _unreadable(self, error: OSError | ValueError) -> MediaError:
        if isinstance(error, FileNotFoundError):
            return MediaError(f"{self.name}: no such file. Check the path.")
        if isinstance(error, PermissionError):
            return MediaError(f"{self.name}: no permission to read it. Run: chmod +r on the file.")
        return MediaError(f"{self.name}: cannot be read ({reason(error)}). Check the path.")


def reason(error: BaseException, *, max_chars: int = 100) -> str:
    """Return the first line of a decoder's complaint, short enough for a message."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= max_chars else text[: max_chars - 3] + "..."
