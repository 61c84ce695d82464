"""Some rows of a source, as if they were all of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from hocket._errors import DataError
from hocket.chat.conversation import Conversation
from hocket.data.sources import Source


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


def choose_rows(source: Source, *, without: str = "", most: int = 0) -> Source | ChosenRows:
    """Return a source without some of its rows.

    Args:
        source: all rows.
        without: JSON file with a list of row numbers to leave out; empty for none.
        most: rows to keep at most, the first ones; 0 for all.

    Raises:
        DataError: the file is missing, damaged or names a row that is not there.
    """
    if not without and not most:
        return source
    rows = np.arange(len(source))
    if without:
        rows = np.delete(rows, _read_rows(Path(without), len(source)))
    return ChosenRows(source, rows[:most] if most else rows)


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
