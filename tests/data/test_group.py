"""Unpacked rows stand beside others of their length; none is lost, doubled or kept waiting."""

from __future__ import annotations

from itertools import chain, islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toy import assistant, talk, toy, user

from hocket.data.augment import Augmenter
from hocket.data.balance import EQUAL, share_out
from hocket.data.budget import Budget
from hocket.data.group import LOOK_AHEAD, Grouper, share_alike
from hocket.data.loader import Loader, StepShape
from hocket.data.mixture import Mixture
from hocket.data.pack import Measured, Packer, PackerState, Row
from hocket.data.sources.memory import Memory
from hocket.tokens.example import Cost

BUDGET = Budget(1000)


def grouper(costs: list[int], rows: int, pool: int, state: PackerState | None = None) -> Grouper:
    """Group samples of so many tokens; 0 stands for one that cannot be used."""

    def measure(position: int) -> Measured:
        tokens = costs[position % len(costs)]
        return Measured(Cost(tokens, 0, 0) if tokens else None)

    return Grouper(measure, budget=BUDGET, pool=pool, rows=rows, prices=EQUAL, state=state)


def take(from_: Packer, count: int) -> list[Row]:
    return [from_.next_row() for _ in range(count)]


@settings(deadline=None, max_examples=60)
@given(
    costs=st.lists(st.integers(0, 900), min_size=1, max_size=60).filter(any),
    rows=st.integers(1, 6),
    pool=st.integers(1, 40),
    steps=st.integers(1, 12),
    stop=st.integers(0, 11),
)
def test_each_position_comes_once_and_a_resumed_run_goes_on_with_the_same_rows(
    costs: list[int], rows: int, pool: int, steps: int, stop: int
) -> None:
    whole = grouper(costs, rows, pool)
    found = take(whole, rows * steps)
    positions = [row.positions[0] for row in found]
    assert all(len(row.positions) == 1 for row in found)
    seen = positions + list(whole.state.pool)
    usable = [at for at in range(whole.state.cursor) if costs[at % len(costs)]]
    assert sorted(seen) == usable, "none is lost or doubled"
    assert whole.state.bad == whole.state.cursor - len(usable)
    cut = min(stop, steps)
    first = grouper(costs, rows, pool)
    begun = take(first, rows * cut)
    rest = take(grouper(costs, rows, pool, first.state), rows * (steps - cut))
    assert begun + rest == found


@settings(deadline=None, max_examples=40)
@given(
    costs=st.lists(st.integers(1, 900), min_size=1, max_size=50),
    rows=st.integers(1, 5),
)
def test_nothing_waits_for_ever(costs: list[int], rows: int) -> None:
    made = grouper(costs, rows, 1)
    for step in range(30):
        take(made, rows)
        assert min(made.state.pool) > step, "the oldest leaves with each step"
        assert len(made.state.pool) <= LOOK_AHEAD * rows


@settings(deadline=None, max_examples=60)
@given(
    costs=st.lists(st.floats(1, 500), min_size=24, max_size=24),
    cut=st.sampled_from([(1, 1), (2, 1), (4, 1), (2, 3), (1, 4), (4, 3)]),
)
def test_rows_are_shared_whole_and_micro_steps_are_alike(
    costs: list[float], cut: tuple[int, int]
) -> None:
    world, accumulate = cut
    shares = share_alike(costs, world=world, accumulate=accumulate)
    assert sorted(row for rank in shares for batch in rank for row in batch) == list(range(24))
    assert {len(batch) for rank in shares for batch in rank} == {24 // (world * accumulate)}
    steps = [[costs[row] for rank in shares for row in rank[step]] for step in range(accumulate)]
    for dear, cheap in pairwise(steps):
        assert min(dear) >= max(cheap)


def test_padding_is_a_fraction_of_what_it_is_in_the_order_of_the_data() -> None:
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(5.3, 0.7, 4000), 30, 800).astype(int).tolist()

    def padding(rows: list[Row], shape: int = 8) -> float:
        tokens = [row.cost.tokens for row in rows]
        batches = [tokens[at : at + shape] for at in range(0, len(tokens), shape)]
        whole = sum(max(one) * len(one) for one in batches)
        return 1 - sum(tokens) / whole

    plain = [Row((at,), Cost(tokens, 0, 0)) for at, tokens in enumerate(lengths[:3200])]
    grouped = take(grouper(lengths, 8, 64), 3200)
    assert padding(plain) > 0.4
    assert padding(grouped) < 0.12


@pytest.mark.parametrize("world", [1, 2])
def test_a_loader_shows_the_same_steps_for_any_number_of_ranks(world: int) -> None:
    rows = [
        talk(user("Count."), assistant("one " * (1 + 7 * at % 23)), name=f"r{at}")
        for at in range(40)
    ]

    def steps(rank: int, ranks: int, workers: int = 0) -> list[list[str]]:
        loader = Loader(
            Mixture({"rows": (Memory(rows), 1.0)}, seed=1),
            toy().processor,
            shape=StepShape(
                rows=4, tokens_per_row=200, packed=False, rank=rank, world=ranks, accumulate=2
            ),
            augmenter=Augmenter({}, seed=0),
            workers=workers,
        )
        assert loader.steps_per_epoch() == 10
        found = list(islice(loader, 10))
        assert all(len(batch["input_ids"]) == 4 // (2 * ranks) for s in found for batch in s.micro)
        return [sorted(step.samples) for step in found]

    if world == 1:
        assert steps(0, 1) == steps(0, 1, workers=2)
    alone = steps(0, 1)
    shared = [steps(rank, world) for rank in range(world)]
    together = [sorted(chain(*parts)) for parts in zip(*shared, strict=True)]
    assert together == alone


def test_sharing_out_by_cost_alone_would_mix_lengths() -> None:
    costs = [100.0, 90.0, 10.0, 9.0]
    assert share_alike(costs, world=1, accumulate=2) == [[[0, 1], [2, 3]]]
    assert share_out(costs, world=1, accumulate=2) != [[[0, 1], [2, 3]]]
