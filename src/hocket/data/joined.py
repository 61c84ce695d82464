"""Several data sets one behind the other, every row once; for verbs that look at all of them.

Knows data sets and row numbers; must not know how a mixture weighs or shuffles them.
"""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from hocket._errors import DataError
from hocket.chat.conversation import Conversation
from hocket.data.chosen import ChosenRows, row_number
from hocket.data.sources import Source


class Place(NamedTuple):
    """Where a row stands: the name of its data set, and its number in that data set's file."""

    dataset: str
    row: int


class JoinedRows:
    """The rows of data sets as one sequence, in the order of the data sets.

    Args:
        parts: name -> its rows.

    Raises:
        DataError: there are no data sets.
    """

    def __init__(self, parts: Mapping[str, Source | ChosenRows]) -> None:
        if not parts:
            raise DataError("no data set is named. Give a data file, or a config that lists some.")
        self.parts = dict(parts)
        self._names = list(parts)
        self._ends = list(accumulate(len(part) for part in parts.values()))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Conversation:
        """Return a row.

        Raises:
            DataError: the row cannot be understood.
            IndexError: there is no such row.
        """
        name, local = self._find(index)
        return self.parts[name][local]

    def place(self, index: int) -> Place:
        """Return the data set of a row and its number there."""
        name, local = self._find(index)
        return Place(name, row_number(self.parts[name], local))

    def sizes(self) -> dict[str, int]:
        """Return the rows of each data set, in order."""
        return {name: len(part) for name, part in self.parts.items()}

    def numbers(self, rows: np.ndarray) -> np.ndarray:
        """Return the number of the data set and of the place there for rows (N,), int64 (N, 2)."""
        parts = np.searchsorted(self._ends, rows, side="right")
        starts = np.array([0, *self._ends[:-1]])
        return np.stack([parts, rows - starts[parts]], axis=1)

    def where(self, index: int) -> str:
        """Return the data set and number of a row, as messages call it."""
        name, row = self.place(index)
        return f"{name} row {row}"

    def _find(self, index: int) -> tuple[str, int]:
        number = operator.index(index)
        if not 0 <= number < len(self):
            raise IndexError(f"row {number} of {len(self)}")
        part = bisect_right(self._ends, number)
        return self._names[part], number - (self._ends[part - 1] if part else 0)
