"""The rows of a step shared out so that every process and micro-batch has about as much to do.

Which rows a step has does not depend on how they are shared: the loss is a sum over all of them.
The rule is a function of the rows' costs alone, so every process finds the same shares by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hocket.tokens.example import Cost

_SWAPS = 16
# An exchange that helps less is not worth the search for the next.
_LEAST_GAIN = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What a patch and an audio frame cost, in tokens of the language model.

    A good measure is the tower's parameters over those of the language model.

    Attributes:
        patch: price of a patch of the vision tower.
        audio_frame: price of an encoder frame of the audio tower.
    """

    patch: float = 1.0
    audio_frame: float = 1.0

    def of(self, cost: Cost) -> float:
        """Return a cost in tokens."""
        return cost.tokens + self.patch * cost.patches + self.audio_frame * cost.frames


EQUAL = Prices()
"""A patch and an audio frame cost what a token does."""


def share_out(costs: Sequence[float], *, world: int, accumulate: int) -> list[list[list[int]]]:
    """Share rows among processes and micro-batches, as many for each.

    The dearest row goes to the cheapest batch that has room, then rows of the dearest batch are
    exchanged as long as that helps. Batches of like cost stand in the same micro-step, so that
    processes that wait for each other there wait little. A single batch keeps the rows' order.

    Args:
        costs: one for each row; a multiple of ``world * accumulate`` of them.
        world: processes.
        accumulate: micro-batches of each.

    Returns:
        For each process, for each micro-batch, its rows in ascending order.
    """
    batches = _even(costs, world * accumulate)
    order = sorted(batches, key=lambda batch: (-_sum(costs, batch), batch))
    shares: list[list[list[int]]] = [[] for _ in range(world)]
    for step in range(accumulate):
        batches = order[step * world : (step + 1) * world]
        # Turned around in every other micro-step, so that no process gets the dearest each time.
        for rank, batch in enumerate(reversed(batches) if step % 2 else batches):
            shares[rank].append(batch)
    return shares


def _even(costs: Sequence[float], count: int) -> list[list[int]]:
    """Return batches of one size with the dearest as cheap as the rule can make it."""
    size = len(costs) // count
    batches: list[list[int]] = [[] for _ in range(count)]
    totals = [0.0] * count
    for row in sorted(range(len(costs)), key=lambda row: (-costs[row], row)):
        open_ones = (number for number in range(count) if len(batches[number]) < size)
        cheapest = min(open_ones, key=lambda number: (totals[number], number))
        batches[cheapest].append(row)
        totals[cheapest] += costs[row]
    for _ in range(_SWAPS):
        if not _swap(costs, batches):
            break
    return [sorted(batch) for batch in batches]


def _swap(costs: Sequence[float], batches: list[list[int]]) -> bool:
    """Exchange two rows so that the dearest batch gets cheaper; return whether there were any."""
    totals = [_sum(costs, batch) for batch in batches]
    dear = max(range(len(batches)), key=lambda number: (totals[number], -number))
    best, found = totals[dear] * (1 - _LEAST_GAIN), None
    for other in range(len(batches)):
        for mine, row in enumerate(batches[dear]):
            for theirs, instead in enumerate(batches[other]):
                less = costs[row] - costs[instead]
                dearest = max(totals[dear] - less, totals[other] + less)
                if other != dear and dearest < best:
                    best, found = dearest, (other, mine, theirs)
    if found is None:
        return False
    other, mine, theirs = found
    one, two = batches[dear], batches[other]
    one[mine], two[theirs] = two[theirs], one[mine]
    return True


def _sum(costs: Sequence[float], batch: Sequence[int]) -> float:
    return sum(costs[row] for row in batch)
