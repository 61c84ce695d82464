"""Samples become rows of a fixed length, with little padding and no sample cut.

Each row starts with the sample that has waited longest, then takes from a bounded pool whatever
still fits, longest first. The pool is a list of positions, so the packer's whole state is a few
integers, and a resumed run packs the very same rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from hocket._errors import DataError


class PackerState(NamedTuple):
    """Everything that is needed to go on packing.

    Attributes:
        cursor: position of the next sample to read.
        pool: positions read and not yet packed, oldest first.
        bad: samples left out so far.
    """

    cursor: int = 0
    pool: tuple[int, ...] = ()
    bad: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """Positions of the samples that share a row, and their length together in tokens."""

    positions: tuple[int, ...]
    tokens: int


class Packer:
    """Fills rows from an endless sequence of samples.

    Args:
        length_of: returns the tokens of the sample at a position, or None to leave it out.
        budget: length of a row in tokens; a sample alone may not be longer.
        pool: samples to look ahead.
        state: where to go on.

    Raises:
        DataError: a sample of the state's pool cannot be measured any more.
    """

    def __init__(
        self,
        length_of: Callable[[int], int | None],
        *,
        budget: int,
        pool: int,
        state: PackerState | None = None,
    ) -> None:
        self._length_of = length_of
        self._budget = budget
        self._size = pool
        self._state = state or PackerState()
        self._lengths: dict[int, int] = {}
        for position in self._state.pool:
            self._lengths[position] = self._known_length(position)

    @property
    def state(self) -> PackerState:
        """What a new packer needs to go on exactly here."""
        return self._state

    def next_row(self) -> Row:
        """Return the next row."""
        pool = self._refill()
        first, *rest = pool
        chosen = [first]
        room = self._budget - self._lengths[first]
        for position in sorted(rest, key=lambda at: (-self._lengths[at], at)):
            if self._lengths[position] <= room:
                chosen.append(position)
                room -= self._lengths[position]
        taken = set(chosen)
        left = tuple(position for position in pool if position not in taken)
        self._state = self._state._replace(pool=left)
        for position in chosen:
            del self._lengths[position]
        return Row(tuple(sorted(chosen)), self._budget - room)

    def _refill(self) -> list[int]:
        """Read on until the pool is full; leave out what cannot be measured."""
        cursor, bad = self._state.cursor, self._state.bad
        pool = list(self._state.pool)
        while len(pool) < max(self._size, 1):
            length = self._length_of(cursor)
            if length is None:
                bad += 1
            else:
                pool.append(cursor)
                self._lengths[cursor] = length
            cursor += 1
        self._state = PackerState(cursor, tuple(pool), bad)
        return pool

    def _known_length(self, position: int) -> int:
        length = self._length_of(position)
        if length is None:
            raise DataError(
                f"sample {position} of the run was usable when the state was saved and is not now. "
                "Put its file back as it was."
            )
        return length
