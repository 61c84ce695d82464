"""Rows of one or several files as one sequence of conversations.

Knows how rows are counted over files; must not know a storage format.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Protocol

from hocket._errors import DataError
from hocket.chat.conversation import Conversation
from hocket.chat.readers import Reader
from hocket.data.sources import Row
from hocket.data.sources._paths import data_files, names_below


class RowFile(Protocol):
    """The rows of one file."""

    def __len__(self) -> int: ...

    def row(self, index: int) -> Row:
        """Return a row.

        Raises:
            DataError: the row is damaged.
        """
        ...

    def place(self, index: int) -> str:
        """Return the number of a row, as messages call it: ``row 5``."""
        ...


class FileRows(ABC):
    """A source made of files; a storage format says how one of them is opened.

    Args:
        path: the data file, a glob, or several of them separated by commas.
        reader: turns one of its rows into a conversation.
        root: folder that relative media paths start from; None means the folder of each file.

    Raises:
        DataError: a file is missing, empty, damaged or of another format, or there are no rows.
    """

    def __init__(self, path: Path, *, reader: Reader, root: Path | None = None) -> None:
        self.path = path
        self._reader = reader
        files = self.find(path)
        names = names_below(files)
        self._parts = [self.open(file, name) for file, name in zip(files, names, strict=True)]
        self._names = names
        self._roots = [self.root_of(file, root) for file in files]
        self._ends = list(accumulate(len(part) for part in self._parts))
        if not len(self):
            raise DataError(f"{path} holds no rows. Add rows or leave the data set out.")

    def find(self, path: Path) -> list[Path]:
        """Return the files of the data set.

        Raises:
            DataError: a file is missing or empty.
        """
        return data_files(path)

    def root_of(self, file: Path, root: Path | None) -> Path:
        """Return the folder that media paths in a file start from; ``root`` is the one given."""
        return root or file.parent

    @abstractmethod
    def open(self, file: Path, name: str) -> RowFile:
        """Return the rows of one file; ``name`` is what messages call it.

        Raises:
            DataError: the file is damaged or of another format.
        """

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Conversation:
        """Return row `index`.

        Raises:
            DataError: the row cannot be understood.
            IndexError: there is no such row.
        """
        part, _ = self._find_row(index)
        return self._reader(self.row(index), root=self._roots[part], where=self.where(index))

    def row(self, index: int) -> Row:
        """Return row `index` as it is stored.

        Raises:
            DataError: the row is damaged.
            IndexError: there is no such row.
        """
        part, local = self._find_row(index)
        return self._parts[part].row(local)

    def where(self, index: int) -> str:
        """Return the file and the number of a row."""
        part, local = self._find_row(index)
        return f"{self._names[part]} {self._parts[part].place(local)}"

    def _find_row(self, index: int) -> tuple[int, int]:
        number = operator.index(index)
        if not 0 <= number < len(self):
            raise IndexError(f"{self.path}: row {number} of {len(self)}")
        part = bisect_right(self._ends, number)
        return part, number - (self._ends[part - 1] if part else 0)
