"""Parquet files, with media as bytes in their columns or as paths.

A picture column as the Hugging Face hub writes it, a struct of ``bytes`` and ``path``, arrives in
a row as ``{"bytes": ..., "path": ...}``, and a binary column as ``bytes``; readers take both. A row
group is the least that Parquet can read, so a few are kept: rows in random order are quick if the
file has small groups (100 rows, or a few MB), slow if it has one for everything.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from hocket._errors import DataError, MissingExtraError
from hocket.data.sources import Row, sources
from hocket.data.sources._arrow import plain_row
from hocket.data.sources._files import DataFile
from hocket.data.sources._paths import data_files
from hocket.data.sources._rows import FileRows
from hocket.media.where import reason

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# Of one data set, in each process.
KEPT_BYTES = 256 * 2**20
OPEN_FILES = 32


@sources.register
class ParquetRows(FileRows):
    """The rows of Parquet files; needs the extra ``parquet``.

    Args:
        path: the data file, a folder of them, a glob, or several separated by commas.
        reader: turns one of its rows into a conversation.
        root: folder that relative media paths start from; None means the folder of each file.

    Raises:
        DataError: a file is missing, empty, cut off or no Parquet.
        MissingExtraError: pyarrow is not installed.
    """

    def find(self, path: Path) -> list[Path]:
        """Return the files; a folder stands for its ``*.parquet``.

        Raises:
            DataError: a file is missing or empty, or a folder holds none.
        """
        self._groups = _Groups()
        if path.is_dir():
            return data_files(path / "*.parquet")
        return super().find(path)

    def open(self, file: Path, name: str) -> _Rows:
        """Return the rows of one file."""
        return _Rows(file, name, self._groups)


class _Rows:
    def __init__(self, path: Path, name: str, groups: _Groups) -> None:
        self._file = DataFile.of(path)
        self._name = name
        self._groups = groups
        metadata = _opened(self._file).metadata
        counts = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        self._ends = list(accumulate(counts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def place(self, index: int) -> str:
        return f"row {index}"

    def row(self, index: int) -> Row:
        number = bisect_right(self._ends, index)
        local = index - (self._ends[number - 1] if number else 0)
        return plain_row(self._groups.table(self._file, number).slice(local, 1).to_pylist()[0])


class _Groups:
    """The row groups used last, of all files of a data set; each process has its own."""

    _open: OrderedDict[DataFile, pq.ParquetFile]
    _kept: OrderedDict[tuple[DataFile, int], pa.Table]

    def __init__(self) -> None:
        self._forget()

    def __reduce__(self) -> tuple[type[_Groups], tuple[()]]:
        return _Groups, ()

    def table(self, file: DataFile, number: int) -> pa.Table:
        """Return a row group.

        Raises:
            DataError: it is damaged.
        """
        if self._process != os.getpid():
            self._forget()  # what was open before a fork shares its place in the file
        key = (file, number)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            table = self._read(file, number)
            self._kept[key] = table
            self._bytes += table.nbytes
            while self._bytes > KEPT_BYTES and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.nbytes
            return table

    def _read(self, file: DataFile, number: int) -> pa.Table:
        import pyarrow as pa

        if file not in self._open:
            self._open[file] = _opened(file)
        self._open.move_to_end(file)
        while len(self._open) > OPEN_FILES:
            self._open.popitem(last=False)
        try:
            return self._open[file].read_row_group(number, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{file.path}: the row group {number} cannot be read ({reason(error)}). "
                f"Copy the file again."
            ) from error

    def _forget(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._open = OrderedDict()
        self._kept = OrderedDict()
        self._bytes = 0


def _opened(file: DataFile) -> pq.ParquetFile:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet") from error
    try:
        return pq.ParquetFile(file.path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{file.path} is no Parquet file, or is cut off ({reason(error)}). "
            f"Copy it again or set another source."
        ) from error
