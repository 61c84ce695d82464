"""A JSON array of rows, or one object that holds such an array under ``conversations``.

The file is never in memory: where its rows are is found once and kept in the cache folder, and a
row is read and decoded when somebody asks for it. What the first opening costs is about what
``json.load`` costs; later ones take milliseconds.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import cast

from hocket.data.sources import Row, sources
from hocket.data.sources._files import DataFile
from hocket.data.sources._index import row_index
from hocket.data.sources._rows import FileRows
from hocket.data.sources._scan import array_rows
from hocket.data.sources._text import json_row, row_bytes

_ROOT_KEY = "conversations"


@sources.register
class JsonArray(FileRows):
    """The rows of JSON files; the object root is what the Ovis guide writes.

    Args:
        path: the data file, a glob, or several of them separated by commas.
        reader: turns one of its rows into a conversation.
        root: folder that relative media paths start from; None means the folder of each file.

    Raises:
        DataError: a file is missing, empty, not JSON or not an array.
    """

    def open(self, file: Path, name: str) -> _Rows:
        """Return the rows of one file, finding them first if it is new."""
        return _Rows(file, name)


class _Rows:
    def __init__(self, path: Path, name: str) -> None:
        self._file = DataFile.of(path)
        self._name = name
        find = partial(array_rows, self._file, key=_ROOT_KEY)
        self._index = row_index(self._file, "json", 2, find)

    def __len__(self) -> int:
        return len(self._index)

    def row(self, index: int) -> Row:
        start, end = map(int, self._index[index])
        where = f"{self._name} {self.place(index)}"
        return cast(Row, json_row(row_bytes(self._file, start, end, where), where))

    def place(self, index: int) -> str:
        return f"row {index}"
