"""Parquet shards, with media as bytes in their rows or as paths; needs the extra ``parquet``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hocket._errors import DataError, MissingExtraError
from hocket.data.containers import Numbered, containers
from hocket.data.sources._arrow import plain_row
from hocket.media.where import reason

if TYPE_CHECKING:
    import pyarrow as pa

# The least that is read at once: small, since rows are read in random order.
_GROUP_ROWS = 100


@containers.register
class ParquetShards:
    """A folder of Parquet files; every column has one type in each file."""

    is_folder = True
    listed = True
    packs = True
    must_pack = False
    ending = ".parquet"

    def stored(self, numbered: Numbered) -> Mapping[str, object]:
        """Return the row without nulls, which is how Parquet says that a key is not there."""
        return plain_row(numbered.row)

    def write(self, rows: Iterable[Numbered], file: Path) -> None:
        """Write one shard, having compared what it holds with the rows.

        Raises:
            DataError: values of one key that no column holds together, or that come back changed.
            MissingExtraError: pyarrow is not installed.
        """
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise MissingExtraError("pyarrow", "parquet") from error
        whole = [*rows]
        table = _table(whole)
        for numbered, back in zip(whole, table.to_pylist(), strict=True):
            found = plain_row(back)
            for key in [*numbered.row, *found]:
                if key not in found or not _same(numbered.row.get(key), found[key]):
                    raise DataError(
                        f"{numbered.at}: {key!r} does not come back from Parquet as it was. "
                        f"Give it one type in all rows, remove it, or write json."
                    )
        try:
            pq.write_table(table, file, row_group_size=_GROUP_ROWS)
        except pa.ArrowException as error:  # such as an object without keys in every row
            raise DataError(
                f"{whole[0].at} to {whole[-1].at}: Parquet cannot hold them ({reason(error)}). "
                f"Write json, jsonl or webdataset."
            ) from error

    def finish(self, parts: Sequence[Path], out: Path, *, name: str, keys: Sequence[str]) -> None:
        """Leave the shards as they are."""


def _table(rows: Sequence[Numbered]) -> pa.Table:
    import pyarrow as pa

    columns = {}
    for key in dict.fromkeys(key for numbered in rows for key in numbered.row):
        try:
            columns[key] = pa.array([numbered.row.get(key) for numbered in rows])
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            raise DataError(
                f"{rows[0].at} to {rows[-1].at}: {key!r} holds values of several types, for which "
                f"Parquet has no column ({reason(error)}). Write json or jsonl."
            ) from error
    return pa.table(columns)


def _same(one: object, other: object) -> bool:
    """Return whether two values are equal and of one kind: 1 is not true."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)
