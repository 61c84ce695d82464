"""Tables written as text: a header, and one record a row, quoted as spreadsheets quote.

Knows separators and quotes; must not know what a column means.
"""

from __future__ import annotations

import csv
import io
import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np

from hocket._errors import DataError
from hocket.chat.conversation import Json
from hocket.data.sources import Row
from hocket.data.sources._files import DataFile
from hocket.data.sources._index import Index, row_index
from hocket.data.sources._rows import FileRows
from hocket.data.sources._text import BYTE_ORDER_MARK, MAX_ROW_BYTES, row_bytes, row_text

_SEPARATORS = (",", ";", "\t", "|")
_LONGEST_HEADER = 100_000


class TableRows(FileRows):
    r"""The records of text tables; the header names the keys of a row.

    A cell is text, also where it looks like a number. A cell that is a JSON list or object, such
    as ``["a.png", "b.png"]`` or ``[{"from": "human", ...}]``, is that; an empty cell is a key that
    the row does not have. Quotes are as in spreadsheets: a cell in ``"`` may hold separators and
    line breaks, and ``""`` in it is one ``"``. Where the header has a single name with the usual
    separator and several with a comma, semicolon, tab or ``|``, that one separates the file.

    Args:
        path: the data file, a glob, or several of them separated by commas.
        reader: turns one of its rows into a conversation.
        root: folder that relative media paths start from; None means the folder of each file.

    Raises:
        DataError: a file is missing, empty, without a header, or has a quote that does not end.
    """

    separator: ClassVar[str]

    def open(self, file: Path, name: str) -> _Records:
        """Return the records of one file, finding them first if it is new."""
        return _Records(file, name, self.separator)


class _Records:
    def __init__(self, path: Path, name: str, separator: str) -> None:
        self._file = DataFile.of(path)
        self._name = name
        separator = self._separator = _separator(path, separator)
        kind = f"table {separator!r}"
        self._index = row_index(self._file, kind, 3, lambda: _records(path, separator))
        if not len(self._index):
            raise DataError(f"{path} has no header. Write the names of the columns first.")
        self._header = self._cells(0, f"{name} header")
        _check_header(self._header, path, separator)

    def __len__(self) -> int:
        return len(self._index) - 1

    def row(self, index: int) -> Row:
        where = f"{self._name} {self.place(index)}"
        cells = self._cells(index + 1, where)
        if len(cells) != len(self._header):
            raise DataError(
                f"{where} has {len(cells)} cells, expected {len(self._header)} as in the header. "
                f"Put a cell that holds {self._separator!r} in quotes."
            )
        pairs = zip(self._header, cells, strict=True)
        return {name: cell_value(cell) for name, cell in pairs if cell}

    def place(self, index: int) -> str:
        return f"row {index} (line {int(self._index[index + 1, 2])})"

    def _cells(self, record: int, where: str) -> list[str]:
        start, end, _ = map(int, self._index[record])
        text = row_text(row_bytes(self._file, start, end, where), where)
        csv.field_size_limit(MAX_ROW_BYTES)
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=self._separator))


def _separator(path: Path, usual: str) -> str:
    """Return what separates the cells of a file's header, the usual separator where it does."""
    with path.open("rb") as stream:
        line = next(iter(_Lines(stream)), "")[:_LONGEST_HEADER]
    counts = {
        one: len(next(csv.reader([line], delimiter=one), [])) for one in (usual, *_SEPARATORS)
    }
    # Spreadsheets write semicolons in half of the world and call it CSV.
    return usual if counts[usual] > 1 else max(counts, key=lambda one: counts[one])


def _check_header(header: list[str], path: Path, separator: str) -> None:
    if "" in header or len(set(header)) < len(header):
        wrong = next(name for name in header if not name or header.count(name) > 1)
        fault = f"the column {wrong!r} twice" if wrong else "a column without a name"
        raise DataError(
            f"{path} line 1 has {fault}; expected names that differ, separated by {separator!r}. "
            f"Correct the header."
        )


def cell_value(cell: str) -> Json:
    """Return what a cell that is not empty holds: a JSON list or object, or its text."""
    if cell[0] not in "[{":
        return cell
    try:
        found: Json = json.loads(cell)
    except (ValueError, RecursionError):
        return cell  # "[laughs] hello" is a caption
    return found


class _Lines:
    """The lines of a file, counting the bytes that were handed out."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.at = len(BYTE_ORDER_MARK) if stream.read(3) == BYTE_ORDER_MARK else 0
        stream.seek(self.at)

    def __iter__(self) -> Iterator[str]:
        for line in self._stream:
            self.at += len(line)
            # What is not UTF-8 costs its own row, when that is read.
            yield line.decode("utf-8", "surrogateescape")


def _records(path: Path, separator: str) -> Index:
    """Return int64 (records, 3): first byte, the byte behind the last, line of the first."""
    found: array[int] = array("q")
    csv.field_size_limit(MAX_ROW_BYTES)
    with path.open("rb") as stream:
        lines = _Lines(stream)
        records = csv.reader(iter(lines), delimiter=separator, strict=True)
        start, line = lines.at, 1
        try:
            for cells in records:
                if cells:
                    found.extend((start, lines.at, line))
                start, line = lines.at, records.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"{path} line {line}: the record that begins here cannot be read ({error}). "
                f"Check its quotes."
            ) from error
    return np.frombuffer(found, dtype=np.int64).reshape(-1, 3)
