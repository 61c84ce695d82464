"""One JSON object a line; blank lines are left out.

A line that is not JSON costs its own sample and no other, so lines are decoded only when they are
asked for. Where they are is kept in the cache folder.
"""

from __future__ import annotations

from array import array
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from hocket._errors import DataError
from hocket.data.sources import Row, sources
from hocket.data.sources._files import DataFile
from hocket.data.sources._index import Index, row_index
from hocket.data.sources._rows import FileRows
from hocket.data.sources._text import BYTE_ORDER_MARK, json_row, row_bytes

# A file without line breaks is read in pieces, whatever its size.
_PIECE_BYTES = 2**20


@sources.register
class JsonLines(FileRows):
    """The lines of JSONL files.

    Args:
        path: the data file, a glob, or several of them separated by commas.
        reader: turns one of its rows into a conversation.
        root: folder that relative media paths start from; None means the folder of each file.

    Raises:
        DataError: a file is missing, empty, or a JSON array.
    """

    def open(self, file: Path, name: str) -> _Rows:
        """Return the rows of one file, finding its lines first if it is new."""
        return _Rows(file, name)


class _Rows:
    def __init__(self, path: Path, name: str) -> None:
        self._file = DataFile.of(path)
        self._name = name
        self._index = row_index(self._file, "jsonl", 3, partial(_lines, path))

    def __len__(self) -> int:
        return len(self._index)

    def row(self, index: int) -> Row:
        start, end, _ = map(int, self._index[index])
        where = f"{self._name} {self.place(index)}"
        return cast(Row, json_row(row_bytes(self._file, start, end, where), where))

    def place(self, index: int) -> str:
        return f"row {index} (line {int(self._index[index, 2])})"


def _lines(path: Path) -> Index:
    """Return int64 (rows, 3): first byte, the byte behind the last, number of the line from 1."""
    found: array[int] = array("q")
    with path.open("rb") as stream:
        start = at = len(BYTE_ORDER_MARK) if stream.read(3) == BYTE_ORDER_MARK else 0
        stream.seek(at)
        line, blank = 1, True
        while piece := stream.readline(_PIECE_BYTES):
            at += len(piece)
            if blank and not piece.isspace():
                blank = False
                if not found and piece.lstrip().startswith(b"["):
                    raise DataError(
                        f"{path} begins with '[', expected one object a line. Set source: json."
                    )
            if not piece.endswith(b"\n"):
                continue
            if not blank:
                found.extend((start, at - 1, line))
            start, line, blank = at, line + 1, True
        if not blank:
            found.extend((start, at, line))
    return np.frombuffer(found, dtype=np.int64).reshape(-1, 3)
