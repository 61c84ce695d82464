"""How rows of a budget would be filled: the training packer over measured samples.

Knows costs and budgets; must not know conversations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hocket.data.budget import Budget
from hocket.data.census.count import Table
from hocket.data.pack import Measured, Packer
from hocket.data.seed import generator
from hocket.tokens.example import Cost

POOL = 64
"""Samples that the packer looks ahead, as `hocket.data.loader.StepShape` has it."""

# The fill of more samples than these is the same to a tenth of a per cent; a small data set is seen
# again and again, as training does, or the pool would be most of it.
_MOST_SAMPLES = 20_000
_LEAST_SAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Forecast:
    """What packing would come to.

    Attributes:
        tokens_per_row: length of a row.
        samples: samples that fit a row.
        over: samples that do not: something of them would be cut.
        rows: rows that one epoch takes.
        fill: share of positions that hold a token.
        samples_per_row: mean.
    """

    tokens_per_row: int
    samples: int
    over: int
    rows: int
    fill: float
    samples_per_row: float


def forecast(table: Table, budget: Budget, *, seed: int = 0) -> Forecast:
    """Pack shuffled samples: those of an epoch, or some of a large one.

    Args:
        table: `Census.rows`.
        budget: the most a row may cost.
        seed: of the order.
    """
    costs = [
        Cost(int(tokens), int(patches), int(frames))
        for tokens, patches, frames in table[["tokens", "patches", "audio_frames"]].tolist()
    ]
    fitting = [cost for cost in costs if budget.has_room(cost)]
    over = len(costs) - len(fitting)
    if not fitting:
        return Forecast(budget.tokens, 0, over, 0, 0.0, 0.0)
    order = generator(seed, "forecast").permutation(len(fitting))
    sample = [fitting[int(at)] for at in order[:_MOST_SAMPLES]]
    packer = Packer(
        lambda position: Measured(sample[position % len(sample)]), budget=budget, pool=POOL
    )
    packed = tokens = rows = 0
    while packed < max(len(sample), _LEAST_SAMPLES):
        row = packer.next_row()
        packed += len(row.positions)
        tokens += row.cost.tokens
        rows += 1
    fill = tokens / (rows * budget.tokens)
    whole = sum(cost.tokens for cost in fitting)
    return Forecast(
        tokens_per_row=budget.tokens,
        samples=len(fitting),
        over=over,
        rows=math.ceil(whole / (fill * budget.tokens)),
        fill=fill,
        samples_per_row=packed / rows,
    )
