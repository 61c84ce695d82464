from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hocket._errors import DataError
from hocket.data.budget import Budget, Cuts
from hocket.data.loader import StepShape
from hocket.data.pack import Measured, Packer, PackerState
from hocket.tokens.example import Cost

BUDGET = 100
lengths = st.lists(st.one_of(st.none(), st.integers(1, BUDGET)), min_size=1, max_size=60)


def packer(
    known: list[int | None], pool: int, state: PackerState | None = None, budget: int = BUDGET
) -> Packer:
    """Return a packer over the lengths, and samples of length 50 behind them."""

    def measure(at: int) -> Measured:
        tokens = known[at] if at < len(known) else 50
        return Measured(None if tokens is None else Cost(tokens))

    return Packer(measure, budget=Budget(budget), pool=pool, state=state)


@given(lengths, st.integers(1, 20))
def test_no_sample_is_lost_or_doubled_and_no_row_is_too_long(
    known: list[int | None], pool: int
) -> None:
    one = packer(known, pool)
    seen: list[int] = []
    while one.state.cursor < len(known) or any(at < len(known) for at in one.state.pool):
        row = one.next_row()
        assert row.cost.tokens == sum(
            known[at] or 0 if at < len(known) else 50 for at in row.positions
        )
        assert 0 < row.cost.tokens <= BUDGET
        seen += row.positions
        assert sorted([*seen, *one.state.pool]) == [
            at for at in range(one.state.cursor) if at >= len(known) or known[at] is not None
        ]
    assert one.state.bad == known.count(None)


@given(lengths, st.integers(1, 20), st.integers(0, 15))
def test_a_restored_state_packs_the_same_rows(
    known: list[int | None], pool: int, done: int
) -> None:
    straight = packer(known, pool)
    rows = [straight.next_row() for _ in range(done + 8)]
    first = packer(known, pool)
    for _ in range(done):
        first.next_row()
    second = packer(known, pool, PackerState(**first.state._asdict()))
    assert [second.next_row() for _ in range(8)] == rows[done:]
    assert second.state == straight.state


def test_rows_of_dialogues_and_pictures_are_at_least_97_percent_full() -> None:
    rng = np.random.default_rng(0)
    tokens = np.clip(rng.lognormal(5.0, 0.8, size=9000), 30, 800).astype(int)
    pictures = rng.choice([0, 1, 2], p=[0.2, 0.7, 0.1], size=len(tokens)).astype(int)
    costs = [
        Measured(Cost(int(words + 144 * seen), patches=int(576 * seen)))
        for words, seen in zip(tokens, pictures, strict=True)
    ]
    one = Packer(
        costs.__getitem__,
        budget=Budget(2048, 576 * 12),
        pool=StepShape(rows=1, tokens_per_row=2048).pool,
    )
    rows = list(itertools.islice(iter(one.next_row, None), 500))
    assert max(row.cost.patches for row in rows) <= 576 * 12
    assert sum(row.cost.tokens for row in rows) / (500 * 2048) >= 0.97


@given(lengths, st.integers(1, 20))
def test_the_sample_that_waits_longest_is_always_next(known: list[int | None], pool: int) -> None:
    one = packer(known, pool)
    for _ in range(10):
        waiting = one.state.pool
        row = one.next_row()
        assert not waiting or waiting[0] in row.positions


def test_a_sample_of_the_pool_that_has_gone_is_an_error() -> None:
    with pytest.raises(DataError, match="sample 1 of the run was usable"):
        packer([10, None], 4, PackerState(cursor=2, pool=(0, 1)))


costs = st.builds(Cost, st.integers(1, 100), patches=st.integers(0, 40), frames=st.integers(0, 30))


@given(st.lists(costs, min_size=1, max_size=60), st.integers(1, 20))
def test_no_limit_of_media_is_passed(known: list[Cost], pool: int) -> None:
    budget = Budget(100, patches=40, audio_frames=30)
    one = Packer(lambda at: Measured(known[at % len(known)]), budget=budget, pool=pool)
    for _ in range(20):
        row = one.next_row()
        total = functools.reduce(Cost.__add__, (known[at % len(known)] for at in row.positions))
        assert row.cost == total
        assert budget.has_room(total)
        assert row.positions == tuple(sorted(row.positions))


def test_what_is_cut_is_counted_once_also_behind_a_resume() -> None:
    cuts = Cuts(samples=1, pictures=2)

    def measure(at: int) -> Measured:
        if at % 3 == 2:
            return Measured(None, Cuts(skipped=1))
        return Measured(Cost(30), cuts if at % 3 else Cuts())

    straight = Packer(measure, budget=Budget(100), pool=5)
    for _ in range(4):
        straight.next_row()
    resumed = Packer(measure, budget=Budget(100), pool=5, state=straight.state)
    for one in (straight, resumed):
        for _ in range(4):
            one.next_row()
    assert straight.state == resumed.state
    read = range(straight.state.cursor)
    assert straight.state.bad == 0
    assert straight.state.cuts == Cuts(
        samples=sum(at % 3 == 1 for at in read),
        skipped=sum(at % 3 == 2 for at in read),
        pictures=2 * sum(at % 3 == 1 for at in read),
    )
    assert "pictures made smaller" in straight.state.cuts.told()
    assert Cuts().told() == ""
