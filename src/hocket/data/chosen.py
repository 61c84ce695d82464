"""Some rows of a source, as if they were all of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np

from hocket._errors import DataError
from hocket.chat.conversation import Conversation
from hocket.data.quarantine import Quarantined
from hocket.data.sources import Row, RowSource, Source


class ChosenRows:
    """A view of a source.

    Args:
        source: all rows.
        rows: int64 (N,) numbers of those that stay, in order.
    """

    def __init__(self, source: Source, rows: np.ndarray) -> None:
        self.source = source
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Conversation:
        """Return the row that stands at a place of the view.

        Raises:
            DataError: the row cannot be understood.
        """
        return self.source[int(self.rows[index])]

    def row(self, index: int) -> Row:
        """Return what is stored at a place of the view, before a reader sees it.

        Raises:
            DataError: the row is damaged.
        """
        return cast(RowSource, self.source).row(int(self.rows[index]))

    def where(self, index: int) -> str:
        """Return the file and number of the row that stands at a place of the view."""
        return cast(RowSource, self.source).where(int(self.rows[index]))


def row_number(source: Source | ChosenRows, index: int) -> int:
    """Return the row of the whole source that stands at a place of what may be a view of it."""
    return int(source.rows[index]) if isinstance(source, ChosenRows) else index


def choose_rows(
    source: Source,
    *,
    without: str = "",
    most: int = 0,
    quarantined: Mapping[int, Quarantined] | None = None,
) -> Source | ChosenRows:
    """Return a source without some of its rows.

    Args:
        source: all rows.
        without: JSON file with a list of row numbers to leave out; empty for none.
        most: rows to keep at most, the first ones; 0 for all.
        quarantined: further rows to leave out, by number.

    Raises:
        DataError: the file is missing, damaged or names a row that is not there, a row in
            quarantine is another one now, or no row is left.
    """
    if not without and not most and not quarantined:
        return source
    left_out = _read_rows(Path(without), len(source)) if without else []
    for number, entry in (quarantined or {}).items():
        _check_same(source, number, entry)
        left_out.append(number)
    rows = np.delete(np.arange(len(source)), left_out)
    if not len(rows):
        raise DataError(f"all {len(source)} rows are left out. Leave out the data set instead.")
    return ChosenRows(source, rows[:most] if most else rows)


def _check_same(source: Source, number: int, entry: Quarantined) -> None:
    """Check that a row in quarantine is the one that was checked."""
    stale = f"The quarantine leaves out row {number} of {entry.dataset}"
    again = "It belongs to another version of the file: run hocket data check again."
    if not 0 <= number < len(source):
        raise DataError(f"{stale}, which has the rows 0 to {len(source) - 1}. {again}")
    try:
        found = source[number].id
    except DataError:
        return  # whatever it is called, it cannot be used
    if entry.id and found != entry.id:
        raise DataError(f"{stale} with id {entry.id!r}, but its id is {found!r} now. {again}")


def _read_rows(file: Path, count: int) -> list[int]:
    try:
        rows = json.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"no file {file} with the rows to leave out. Check data.subsets and the name behind @."
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as JSON. Give a list of row numbers.") from error
    if not isinstance(rows, list) or not all(type(row) is int for row in rows):
        raise DataError(f"{file} holds something else than a list of row numbers. Correct it.")
    wrong = next((row for row in rows if not 0 <= row < count), None)
    if wrong is not None:
        raise DataError(
            f"{file} leaves out row {wrong}, but the data set has the rows 0 to {count - 1}. "
            "It belongs to another version of the file."
        )
    return rows
