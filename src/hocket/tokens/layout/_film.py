"""How many rows the frames of a video become where not all of them get the same.

``turns`` and ``budget`` are VITA's slow-fast rules: frames are pooled to squares of different
sides. ``pools`` are VILA 2's TSP pyramid: the whole video is averaged in several ways, one behind
the other. The arrangements ``slow_fast`` and ``pyramid`` make what is counted here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hocket._errors import ConfigError, MediaError
from hocket.tokens.span import Plan


class _Budget(NamedTuple):
    """How rows are shared out.

    Attributes:
        slow: sides that all frames may have, the smallest of which slow frames keep.
        fast: longest video -> side of the frames between the slow ones.
    """

    slow: tuple[int, ...]
    fast: dict[int, int]


BUDGETS = {
    4096: _Budget((16, 15, 14, 13, 12), {40: 9, 64: 7}),
    5200: _Budget((16, 15, 14, 13), {45: 9, 64: 7}),
}
Pool = tuple[int, int, int]


def read_pools(kind: str, written: Sequence[str]) -> tuple[Pool, ...]:
    """Return the (frames, height, width) of pools written such as ``8x1x1``.

    Raises:
        ConfigError: one of them is written otherwise.
    """
    found = []
    for one in written:
        match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)", one)
        if match is None:
            raise ConfigError(
                f"{kind}: pools has {one!r}, expected frames x height x width such as '8x1x1'."
            )
        found.append((int(match[1]), int(match[2]), int(match[3])))
    return tuple(found)


def check_sides(kind: str, *, turns: Sequence[int], budget: int) -> None:
    """Check the two rules of slow and fast frames.

    Raises:
        ConfigError: a side is below 1, the budget is unknown, or both rules are given.
    """
    if budget and budget not in BUDGETS:
        raise ConfigError(f"{kind}: budget is {budget}, expected 0 or one of {list(BUDGETS)}.")
    if any(side < 1 for side in turns) or (turns and budget):
        raise ConfigError(
            f"{kind}: turns is {list(turns)} and budget is {budget}, expected sides above 0, and "
            "only one of both rules."
        )


def frame_sides(frames: int, *, turns: Sequence[int], budget: int) -> list[int]:
    """Return the side of the square that each frame becomes; none where no rule is given.

    Raises:
        MediaError: the video has more frames than the budget's rule knows.
    """
    if turns:
        return [turns[number % len(turns)] for number in range(frames)]
    if not budget:
        return []
    slow, fast = BUDGETS[budget]
    if fitting := [side for side in slow if side**2 * frames <= budget]:
        return [fitting[0]] * frames
    side = next((side for most, side in fast.items() if frames <= most), None)
    if side is None:
        raise MediaError(
            f"a video of {frames} frames, but the slow-fast budget of {budget} rows knows at most "
            f"{max(fast)}. Let the frame sampler pick fewer."
        )
    count = int((budget - side**2 * frames) / (slow[-1] ** 2 - side**2))
    chosen = {int(place) for place in np.linspace(0, frames, count)}
    return [slow[-1] if number in chosen else side for number in range(frames)]


def pooled_rows(rows: int, frames: int, pools: Sequence[Pool]) -> list[int]:
    """Return the rows of each averaged frame, pool by pool; a last, shorter run counts too.

    Raises:
        ConfigError: the rows of a frame are no square that can be cut so.
    """
    return [piece for run in _pooled_runs(rows, frames, pools) for piece in run]


def _pooled_runs(rows: int, frames: int, pools: Sequence[Pool]) -> list[list[int]]:
    side = math.isqrt(rows)
    runs = []
    for steps, down, across in pools:
        if side * side != rows or side % down or side % across:
            raise ConfigError(
                f"pools: {rows} rows of a frame cannot be averaged {down} x {across}. Choose "
                "numbers that divide the side of their square."
            )
        runs.append([rows // (down * across)] * -(-frames // steps))
    return runs


def film_plan(
    one: Plan,
    frames: int,
    *,
    pool: int,
    turns: Sequence[int] = (),
    budget: int = 0,
    pools: Sequence[Pool] = (),
    pool_after: tuple[str, ...] = (),
) -> Plan:
    """Return the plan of a video.

    Args:
        one: the plan of a frame.
        frames: how many there are.
        pool: frames that share their rows by the connector.
        turns: sides of frames, by turns.
        budget: rows that frames share out among them.
        pools: what is averaged, and how often.
        pool_after: texts behind all rows of each of the pools.

    Raises:
        MediaError: the video is longer than a rule knows.
        ConfigError: two rules at once.
    """
    sides = frame_sides(frames, turns=turns, budget=budget)
    if (bool(sides) + bool(pools) + (pool > 1)) > 1:
        raise ConfigError(
            f"a video's rows are counted in several ways: turns or budget {list(sides)[:4]}, pools "
            f"{list(pools)} and a connector that joins {pool} frames. Keep one of them."
        )
    plan = one.repeat(frames, pool=pool)
    pieces = [side**2 for side in sides] or pooled_rows(one.rows, frames, pools)
    if not pieces:
        return plan
    runs = tuple(len(run) for run in _pooled_runs(one.rows, frames, pools)) if pool_after else ()
    return replace(plan, rows=sum(pieces), pieces=tuple(pieces), runs=runs, closing=pool_after)
