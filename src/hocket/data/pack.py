"""Samples become rows of a bounded cost, with little padding and no sample cut.

Each row starts with the sample that has waited longest, then takes from a bounded pool whatever
still fits, longest first; samples stand in a row in the order in which they were read. The pool is
a list of positions, so the packer's whole state is a few integers, and a resumed run packs the very
same rows. Which rows there are depends on nothing but the samples, the budget and the pool.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from hocket._errors import DataError
from hocket.data.budget import UNCUT, Budget, Cuts
from hocket.tokens.example import Cost


class PackerState(NamedTuple):
    """Everything that is needed to go on packing.

    Attributes:
        cursor: position of the next sample to read.
        pool: positions read and not yet packed, oldest first.
        bad: samples left out so far.
        dropped: samples of this rank left out of their rows so far, found bad when decoded.
        cuts: what was cut of the samples read so far.
        order: stamp of the mixture whose positions these are; empty if it is not known.
    """

    cursor: int = 0
    pool: tuple[int, ...] = ()
    bad: int = 0
    dropped: int = 0
    cuts: Cuts = UNCUT
    order: str = ""


class Measured(NamedTuple):
    """What a sample costs in a row.

    Attributes:
        cost: its cost, or None to leave it out.
        cuts: what had to be cut; a sample that is left out and counts as cut is not a bad one.
    """

    cost: Cost | None
    cuts: Cuts = UNCUT


@dataclass(frozen=True, slots=True)
class Row:
    """Positions of the samples that share a row, ascending, and what they cost together."""

    positions: tuple[int, ...]
    cost: Cost


class Packer:
    """Fills rows from an endless sequence of samples.

    Args:
        measure: returns what the sample at a position costs.
        budget: the most a row may cost; a sample alone may not cost more.
        pool: samples to look ahead.
        state: where to go on.

    Raises:
        DataError: a sample of the state's pool cannot be measured any more.
    """

    def __init__(
        self,
        measure: Callable[[int], Measured],
        *,
        budget: Budget,
        pool: int,
        state: PackerState | None = None,
    ) -> None:
        self._measure = measure
        self._budget = budget
        self._size = pool
        self._state = state or PackerState()
        self._costs: dict[int, Cost] = {}
        for position in self._state.pool:
            self._costs[position] = self._known_cost(position)

    @property
    def state(self) -> PackerState:
        """What a new packer needs to go on exactly here."""
        return self._state

    def next_row(self) -> Row:
        """Return the next row."""
        pool = self._refill()
        first, *rest = pool
        chosen = [first]
        total = self._costs[first]
        for position in sorted(rest, key=lambda at: (-self._costs[at].tokens, at)):
            together = total + self._costs[position]
            if self._budget.has_room(together):
                chosen.append(position)
                total = together
        taken = set(chosen)
        left = tuple(position for position in pool if position not in taken)
        self._state = self._state._replace(pool=left)
        for position in chosen:
            del self._costs[position]
        return Row(tuple(sorted(chosen)), total)

    def _refill(self) -> list[int]:
        """Read on until the pool is full; leave out what cannot be measured."""
        cursor, bad, cuts = self._state.cursor, self._state.bad, self._state.cuts
        pool = list(self._state.pool)
        while len(pool) < max(self._size, 1):
            cost, cut = self._measure(cursor)
            cuts = cuts.plus(cut) if cut != UNCUT else cuts
            if cost is not None:
                pool.append(cursor)
                self._costs[cursor] = cost
            elif cut == UNCUT:
                bad += 1
            cursor += 1
        self._state = self._state._replace(cursor=cursor, pool=tuple(pool), bad=bad, cuts=cuts)
        return pool

    def _known_cost(self, position: int) -> Cost:
        cost, _ = self._measure(position)
        if cost is None:
            raise DataError(
                f"sample {position} of the run was usable when the state was saved and is not now. "
                "Put its file back as it was."
            )
        return cost
