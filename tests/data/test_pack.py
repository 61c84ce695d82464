from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hocket._errors import DataError
from hocket.data.pack import Packer, PackerState

BUDGET = 100
lengths = st.lists(st.one_of(st.none(), st.integers(1, BUDGET)), min_size=1, max_size=60)


def packer(
    known: list[int | None], pool: int, state: PackerState | None = None, budget: int = BUDGET
) -> Packer:
    """Return a packer over the lengths, and samples of length 50 behind them."""
    return Packer(
        lambda at: known[at] if at < len(known) else 50, budget=budget, pool=pool, state=state
    )


@given(lengths, st.integers(1, 20))
def test_no_sample_is_lost_or_doubled_and_no_row_is_too_long(
    known: list[int | None], pool: int
) -> None:
    one = packer(known, pool)
    seen: list[int] = []
    while one.state.cursor < len(known) or any(at < len(known) for at in one.state.pool):
        row = one.next_row()
        assert row.tokens == sum(known[at] or 0 if at < len(known) else 50 for at in row.positions)
        assert 0 < row.tokens <= BUDGET
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
    cursor, waiting, bad = first.state
    second = packer(known, pool, PackerState(cursor, tuple(waiting), bad))
    assert [second.next_row() for _ in range(8)] == rows[done:]
    assert second.state == straight.state


def test_rows_are_at_least_95_percent_full() -> None:
    draw = np.random.default_rng(0).integers(30, 301, size=6000).tolist()
    one = packer(draw, 64, budget=1024)
    rows = list(itertools.islice(iter(one.next_row, None), 500))
    assert sum(row.tokens for row in rows) / (500 * 1024) >= 0.95


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
