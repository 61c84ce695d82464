"""Rows made in Python: a list, or anything that can be gone through once.

For the Python API: ``Memory([{"image": "a.png", "conversations": [...]}], reader=llava)``, or
conversations that were built in code, which need no reader.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

from hocket._errors import DataError
from hocket.chat.conversation import Conversation, Json
from hocket.chat.readers import Reader
from hocket.data.sources import Row, sources


@sources.register
class Memory:
    """Rows and conversations held in memory.

    Args:
        path: the rows; named as in every source, whose data set is a path.
        reader: turns a row into a conversation; conversations need none.
        root: folder that relative media paths start from; None means the current one.
        name: what messages call the data set.

    Raises:
        DataError: a path, which other sources open; no rows; or rows and no reader.
    """

    def __init__(
        self,
        path: Path | Iterable[Mapping[str, object] | Conversation],
        *,
        reader: Reader | None = None,
        root: Path | None = None,
        name: str = "memory",
    ) -> None:
        if isinstance(path, str | Path):
            raise DataError(
                f"{path}: the source 'memory' holds rows made in Python, not a file. "
                f"Set source to json, jsonl, csv, parquet or another format of files."
            )
        self._rows = list(path)
        self._reader = reader
        self._root = root or Path()
        self._name = name
        if not self._rows:
            raise DataError(f"{name} holds no rows. Add rows or leave the data set out.")
        bare = next((i for i, one in enumerate(self._rows) if not _is_read(one)), None)
        if reader is None and bare is not None:
            raise DataError(
                f"{name} row {bare} is no conversation and there is no reader to make it one. "
                f"Give reader=readers.get('llava'), or another that knows the rows."
            )

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Conversation:
        """Return row `index`.

        Raises:
            DataError: the row cannot be understood.
            IndexError: there is no such row.
        """
        found = self._rows[self._number(index)]
        if isinstance(found, Conversation):
            return found
        assert self._reader is not None
        return self._reader(cast(Row, found), root=self._root, where=self.where(index))

    def row(self, index: int) -> Row:
        """Return row `index` as it was given.

        Raises:
            DataError: it is a conversation, which no reader has to understand.
            IndexError: there is no such row.
        """
        found = self._rows[self._number(index)]
        if isinstance(found, Conversation):
            raise DataError(f"{self.where(index)} is a conversation already: use source[{index}].")
        return cast(Mapping[str, Json], found)

    def where(self, index: int) -> str:
        """Return the name of the data set and the number of a row."""
        return f"{self._name} row {index}"

    def _number(self, index: int) -> int:
        number = operator.index(index)
        if not 0 <= number < len(self._rows):
            raise IndexError(f"{self._name}: row {number} of {len(self._rows)}")
        return number


def _is_read(one: object) -> bool:
    return isinstance(one, Conversation)
