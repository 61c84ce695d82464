"""Which rows of a data set deserve a look: the longest, the largest, those with the least to learn.

Knows tables of numbers; must not know what is shown of a row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hocket.data.census.count import Census
from hocket.data.seed import generator


class Pick(NamedTuple):
    """A row and why it was picked.

    Attributes:
        number: its place among all rows.
        why: in words.
    """

    number: int
    why: str


class _Kind(NamedTuple):
    """One way of being at an end: the order, which rows count, and what is said of one."""

    order: np.ndarray
    known: np.ndarray
    values: np.ndarray
    words: str


def pick_worst(census: Census, *, each: int = 3) -> list[Pick]:
    """Return the rows at the ends of the distributions, each once.

    Args:
        census: the data set.
        each: rows of each kind.
    """
    rows = census.rows
    share = rows["learned"] / np.maximum(rows["tokens"], 1)
    answered = np.where(rows["answer"] < 0, np.iinfo(np.int64).max, rows["answer"])
    every = np.ones(len(rows), dtype=bool)
    kinds = (
        _Kind(-rows["tokens"], every, rows["tokens"], "{:,} tokens"),
        _Kind(-rows["patches"], rows["patches"] > 0, rows["patches"], "{:,} patches"),
        _Kind(
            -rows["audio_frames"],
            rows["audio_frames"] > 0,
            rows["audio_frames"],
            "{:,} audio frames",
        ),
        _Kind(-rows["turns"], every, rows["turns"], "{} turns"),
        _Kind(answered, rows["answer"] >= 0, rows["answer"], "a {}-character answer"),
        _Kind(share, every, share, "{:.1%} learned"),
    )
    found: dict[int, str] = {}
    for order, known, values, words in kinds:
        ranked = [int(at) for at in np.argsort(order, kind="stable") if known[at]]
        # Where all are alike, none of them is the worst.
        if ranked and order[ranked[0]] != order[ranked[-1]]:
            for at in ranked[:each]:
                index = int(rows["number"][at])
                why = words.format(values[at])
                found[index] = f"{found[index]}, {why}" if index in found else why
    return [Pick(index, why) for index, why in found.items()]


def pick_typical(census: Census, *, count: int, seed: int = 0) -> list[int]:
    """Return some rows that can be used, drawn from a seed, kinds of media in turn.

    Args:
        census: the data set.
        count: how many.
        seed: of the draw.
    """
    faulty = {fault.number for fault in census.faults}
    kinds: dict[tuple[int, ...], list[int]] = {}
    shown: dict[int, set[int]] = {}
    for index, kind in zip(
        census.media["number"].tolist(), census.media["kind"].tolist(), strict=True
    ):
        shown.setdefault(index, set()).add(kind)
    order = generator(seed, "report").permutation(len(census.rows))
    for index in census.rows["number"][order].tolist():
        if index not in faulty:
            kinds.setdefault(tuple(sorted(shown.get(index, ()))), []).append(index)
    turns = range(max(map(len, kinds.values()), default=0))
    dealt = [pile[turn] for turn in turns for pile in kinds.values() if turn < len(pile)]
    return sorted(dealt[:count])
