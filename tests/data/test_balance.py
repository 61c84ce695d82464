"""Processes and micro-batches of a step get the same rows in all, and about as much to do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hocket.data.balance import Prices, share_out
from hocket.tokens.example import Cost

SHAPES = [(1, 1), (2, 1), (4, 1), (1, 4), (2, 3), (4, 2)]


@given(st.sampled_from(SHAPES), st.integers(1, 6), st.randoms(use_true_random=False))
def test_every_row_is_shared_out_once(shape: tuple[int, int], size: int, random: object) -> None:
    world, accumulate = shape
    rng = np.random.default_rng(random.randrange(2**32))  # type: ignore[attr-defined] # hypothesis gives random.Random
    costs = rng.integers(1, 1000, world * accumulate * size).tolist()
    shares = share_out(costs, world=world, accumulate=accumulate)
    assert [len(one) for one in shares] == [accumulate] * world
    batches = [batch for one in shares for batch in one]
    assert all(len(batch) == size and batch == sorted(batch) for batch in batches)
    assert sorted(row for batch in batches for row in batch) == list(range(len(costs)))
    assert share_out(costs, world=world, accumulate=accumulate) == shares


def test_one_batch_keeps_the_order() -> None:
    assert share_out([3, 9, 1, 5], world=1, accumulate=1) == [[[0, 1, 2, 3]]]


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_the_dearest_share_is_near_the_mean(shape: tuple[int, int]) -> None:
    world, accumulate = shape
    rng = np.random.default_rng(0)
    worst, plain = [], []
    for _ in range(20):
        costs = (2000 + rng.pareto(2.0, world * accumulate * 4) * 2000).tolist()
        # A row that costs more than a whole share cannot be shared.
        costs = np.minimum(costs, 6000).tolist()
        shares = share_out(costs, world=world, accumulate=accumulate)
        totals = [sum(costs[row] for batch in one for row in batch) for one in shares]
        batches = [sum(costs[row] for row in batch) for one in shares for batch in one]
        worst.append(max(max(totals) / np.mean(totals), max(batches) / np.mean(batches)))
        strided = [sum(costs[rank :: world * accumulate]) for rank in range(world * accumulate)]
        plain.append(max(strided) / np.mean(strided))
    assert np.mean(worst) < 1.04
    assert np.mean(worst) - 1 < (np.mean(plain) - 1) / 4


def test_prices_turn_media_into_tokens() -> None:
    prices = Prices(patch=0.5, audio_frame=0.25)
    assert prices.of(Cost(100, patches=20, frames=8)) == 112
