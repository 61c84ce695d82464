"""Many walks as one row of a table: means with intervals, and where the walks ended.

Shares have Wilson's interval; other measures the normal one of their mean, but Wilson's where all
walks have 0, or all 1. An error that is infinite counts as 0 in every share and is left out of the
mean of metres, with its number beside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hocket.eval.interval import Z_95, share
from hocket.nav.loop import Ending
from hocket.nav.record import Record

SHARES = ("sr", "osr")
_UP_TO_ONE = ("spl", "soft_spl", "ndtw", "sdtw", "cls")
MEASURES = (
    "sr", "osr", "spl", "soft_spl", "ndtw", "sdtw", "cls", "ne_m", "tl_m", "steps", "decisions",
    "collisions", "invalid",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mean:
    """A measure over walks.

    Attributes:
        value: the mean.
        low: lower end of its 95 % interval.
        high: upper end.
        left_out: walks without a finite value.
    """

    value: float
    low: float
    high: float
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """What an agent did on one group of walks.

    Attributes:
        agent: who walked.
        group: which walks.
        walks: how many.
        means: of every measure.
        reached_any: share of walks that stopped at some landmark; None where none are known.
        reached_right: share of those that stopped at the right one; None where none did.
        endings: why they ended -> how often.
    """

    agent: str
    group: str
    walks: int
    means: Mapping[str, Mean]
    reached_any: Mean | None
    reached_right: Mean | None
    endings: Mapping[str, int]

    def figures(self) -> dict[str, object]:
        """Return the row as JSON has it."""
        numbers = {
            name: {"value": one.value, "low": one.low, "high": one.high, "left_out": one.left_out}
            for name, one in self.means.items()
        }
        any_, right = self.reached_any, self.reached_right
        return {
            "agent": self.agent,
            "group": self.group,
            "walks": self.walks,
            "means": numbers,
            "reached_any": any_.value if any_ else None,
            "reached_right": right.value if right else None,
            "endings": dict(self.endings),
        }


def table(walks: Mapping[str, Sequence[Record]]) -> list[TableRow]:
    """Return a row per agent and group, and one per agent over all groups where there are several.

    Args:
        walks: agent -> its walks.
    """
    rows = []
    for agent, records in walks.items():
        groups = sorted({one.group for one in records})
        if len(groups) > 1:
            rows.append(_row(agent, "all", records))
        rows += [
            _row(agent, group, [one for one in records if one.group == group]) for group in groups
        ]
    return rows


def _row(agent: str, group: str, records: Sequence[Record]) -> TableRow:
    means = {name: _mean(name, [one.scores[name] for one in records]) for name in MEASURES}
    known = [one for one in records if one.landmarks]
    reached = [one for one in known if one.reached]
    right = sum(one.scores["sr"] > 0 for one in reached)
    return TableRow(
        agent=agent,
        group=group,
        walks=len(records),
        means=means,
        reached_any=_share(len(reached), len(known)),
        reached_right=_share(right, len(reached)),
        endings={str(end): sum(one.ending is end for one in records) for end in Ending},
    )


def _share(hits: int, trials: int) -> Mean | None:
    if not trials:
        return None
    value, low, high, _ = share(hits, trials)
    return Mean(value, low, high)


def _mean(name: str, values: Sequence[float]) -> Mean:
    finite = [one for one in values if math.isfinite(one)]
    if name in SHARES:
        return _share(int(sum(finite)), len(values)) or Mean(0.0, 0.0, 1.0)
    if not finite:
        return Mean(math.nan, math.nan, math.nan, len(values))
    value = float(np.mean(finite))
    if name in _UP_TO_ONE and value in (0.0, 1.0):
        # The normal interval would say that nothing is unsure.
        return _share(round(value) * len(values), len(values)) or Mean(0.0, 0.0, 1.0)
    half = Z_95 * float(np.std(finite)) / math.sqrt(len(finite))
    high = min(1.0, value + half) if name in _UP_TO_ONE else value + half
    return Mean(value, max(0.0, value - half), high, len(values) - len(finite))
