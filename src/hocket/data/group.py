"""Rows of one sample each, those of a step alike in cost, so that little of a batch is padding.

For language models that cannot keep packed samples apart. Each step takes the sample that has
waited longest and those of a bounded pool that cost about as much, so that nothing waits for ever.
The state is the packer's: positions alone, and a resumed run groups the very same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hocket.data.balance import Prices, share_out
from hocket.data.budget import Budget
from hocket.data.pack import Measured, Packer, PackerState, Row

LOOK_AHEAD = 8
"""Steps whose samples are looked at, at least: fewer leave too little to choose from."""


class Grouper(Packer):
    """Makes the rows of one step after the other; a row holds one sample.

    The state is whole only between steps.

    Args:
        measure: returns what the sample at a position costs.
        budget: the most a row may cost.
        pool: samples to look ahead; at least those of `LOOK_AHEAD` steps.
        rows: rows of a step.
        prices: what media cost beside tokens.
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
        rows: int,
        prices: Prices,
        state: PackerState | None = None,
    ) -> None:
        super().__init__(measure, budget=budget, pool=max(pool, LOOK_AHEAD * rows), state=state)
        self._rows, self._prices = rows, prices
        self._step: list[Row] = []

    def next_row(self) -> Row:
        """Return the next row of this step, or the first of the next."""
        if not self._step:
            self._step = self._next_step()
        return self._step.pop(0)

    def _next_step(self) -> list[Row]:
        pool = self._refill()
        price = {position: self._prices.of(self._costs[position]) for position in pool}
        order = sorted(pool, key=lambda position: (price[position], position))
        oldest = order.index(pool[0])
        first = max(0, oldest - self._rows + 1)
        last = min(oldest, len(order) - self._rows)
        # Of the neighbours in cost, those that need the least padding; batches are as long as their
        # longest row, so tokens count here and not prices.
        start = min(range(first, last + 1), key=lambda at: (self._padding(order, at), at))
        chosen = sorted(order[start : start + self._rows])
        rows = [Row((position,), self._costs.pop(position)) for position in chosen]
        taken = set(chosen)
        left = tuple(position for position in pool if position not in taken)
        self._state = self._state._replace(pool=left)
        return rows

    def _padding(self, order: Sequence[int], start: int) -> int:
        lengths = [self._costs[at].tokens for at in order[start : start + self._rows]]
        return max(lengths) * len(lengths) - sum(lengths)


def share_alike(costs: Sequence[float], *, world: int, accumulate: int) -> list[list[list[int]]]:
    """Share rows out so that those of one micro-step are alike, and its processes do as much.

    Args:
        costs: one for each row; a multiple of ``world * accumulate`` of them.
        world: processes.
        accumulate: micro-batches of each.

    Returns:
        For each process, for each micro-batch, its rows in ascending order.
    """
    order = sorted(range(len(costs)), key=lambda row: (-costs[row], row))
    size = len(costs) // accumulate
    shares: list[list[list[int]]] = [[] for _ in range(world)]
    for step in range(accumulate):
        alike = order[step * size : (step + 1) * size]
        batches = share_out([costs[row] for row in alike], world=world, accumulate=1)
        for rank, (batch,) in enumerate(batches):
            shares[rank].append(sorted(alike[at] for at in batch))
    return shares
