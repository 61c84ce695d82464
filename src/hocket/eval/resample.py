"""Intervals and tests by resampling clusters, since answers about one picture agree.

Cluster bootstrap with percentile intervals (Efron 1979; Field and Welsh 2007), paired bootstrap,
McNemar's exact test (1947) and Holm's correction (1979). Knows measurements; must not know tasks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hocket.eval.interval import share
from hocket.eval.metrics import Metric, Stat

DRAWS = 2000
# Measurements that one bootstrap of a metric without a plain mean looks at; more take minutes.
_MOST_LOOKED_AT = 4_000_000
_FEWEST_DRAWS = 200
_ENDS = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number with its 95 % interval.

    Attributes:
        name: of the number.
        value: None where there is nothing to compute it from.
        low: lower end of the interval.
        high: upper end.
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The second of two headline numbers minus the first, of the same questions.

    Attributes:
        first: the number of the first.
        second: that of the second.
        value: their difference.
        low: lower end of its 95 % interval.
        high: upper end.
        p: of the paired bootstrap, two-sided.
    """

    first: float
    second: float
    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class McNemar:
    """How often one of two was right alone.

    Attributes:
        fixed: questions that only the second has right.
        broken: questions that only the first has right.
        p: exact, two-sided.
    """

    fixed: int
    broken: int
    p: float


def figures(
    metric: Metric, stats: Sequence[Stat], clusters: Sequence[str], *, seed: int = 0
) -> list[Figure]:
    """Return every number of a metric with its interval.

    Where all answers score the same a bootstrap sees no spread; a share of 0 or 1 then has
    Wilson's interval, of as many trials as there are clusters.

    Args:
        metric: reduces measurements.
        stats: one per answer.
        clusters: that each answer belongs to.
        seed: of the draws.
    """
    values = metric.reduce(stats)
    drawn = _drawn(metric, [stats], clusters, seed=seed)[0] if stats else {}
    found = []
    for name, value in values.items():
        low, high = _ends(drawn.get(name, np.empty(0)))
        if _is_share(metric, name) and value in (0.0, 1.0) and low == high:
            count = len(set(clusters))
            wilson = share(round(value) * count, count)
            low, high = wilson.low, wilson.high
        found.append(Figure(name=name, value=_known(value), low=low, high=high))
    return found


def difference(
    metric: Metric,
    first: Sequence[Stat],
    second: Sequence[Stat],
    clusters: Sequence[str],
    *,
    seed: int = 0,
) -> Difference | None:
    """Return the difference of two headline numbers, or None where one of them has none.

    Args:
        metric: of both.
        first: measurements of the first model's answers.
        second: of the second's to the same questions, in the same order.
        clusters: of the questions.
        seed: of the draws.
    """
    name = metric.name
    pair = [metric.reduce(stats).get(name, math.nan) for stats in (first, second)]
    if not all(math.isfinite(value) for value in pair):
        return None
    drawn = _drawn(metric, [first, second], clusters, seed=seed)
    differences = drawn[1][name] - drawn[0][name]
    differences = differences[np.isfinite(differences)]
    low, high = _ends(differences)
    value = pair[1] - pair[0]
    # One is added: a p of 0 cannot be known from a finite number of draws.
    sides = (np.sum(differences <= 0) + 1, np.sum(differences >= 0) + 1)
    p = min(1.0, 2 * float(min(sides)) / (len(differences) + 1))
    return Difference(
        first=pair[0],
        second=pair[1],
        value=value,
        low=value if low is None else low,
        high=value if high is None else high,
        p=p,
    )


def mcnemar(metric: Metric, first: Sequence[Stat], second: Sequence[Stat]) -> McNemar | None:
    """Return McNemar's exact test, or None where scores are not right or wrong alone."""
    pairs = [(one.score, two.score) for one, two in zip(first, second, strict=True)]
    scored = [pair for pair in pairs if None not in pair]
    if not scored or any(score not in (0.0, 1.0) for pair in scored for score in pair):
        return None
    fixed = sum(pair == (0.0, 1.0) for pair in scored)
    broken = sum(pair == (1.0, 0.0) for pair in scored)
    trials = fixed + broken
    tail = sum(math.comb(trials, k) for k in range(min(fixed, broken) + 1))
    return McNemar(fixed=fixed, broken=broken, p=min(1.0, 2 * tail / 2**trials))


def holm(values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values corrected for their number by Holm's step-down procedure."""
    ordered = sorted(values, key=lambda name: values[name])
    corrected: dict[str, float] = {}
    highest = 0.0
    for rank, name in enumerate(ordered):
        highest = max(highest, min(1.0, (len(ordered) - rank) * values[name]))
        corrected[name] = highest
    return {name: corrected[name] for name in values}


def _drawn(
    metric: Metric, models: Sequence[Sequence[Stat]], clusters: Sequence[str], *, seed: int
) -> list[dict[str, np.ndarray]]:
    """Return for each model name -> float (draws,); the same clusters are drawn for all."""
    members: dict[str, list[int]] = {}
    for at, cluster in enumerate(clusters):
        members.setdefault(cluster, []).append(at)
    groups = list(members.values())
    rng = np.random.default_rng(seed)
    if _is_mean(metric):
        return [{metric.name: row} for row in _means(models, groups, rng)]
    draws = max(_FEWEST_DRAWS, min(DRAWS, _MOST_LOOKED_AT // max(1, len(clusters) * len(models))))
    rows: list[list[dict[str, float]]] = [[] for _ in models]
    for _ in range(draws):
        chosen = rng.integers(len(groups), size=len(groups))
        for stats, row in zip(models, rows, strict=True):
            row.append(metric.reduce(_copies(metric, stats, groups, chosen)))
    return [_columns(row) for row in rows]


def _means(
    models: Sequence[Sequence[Stat]], groups: Sequence[Sequence[int]], rng: np.random.Generator
) -> np.ndarray:
    """Return the mean scores of each draw, float (models, draws)."""
    sums, counts = np.zeros((2, len(models), len(groups)))
    for number, stats in enumerate(models):
        for place, group in enumerate(groups):
            scores = [stats[at].score for at in group]
            kept = [score for score in scores if score is not None]
            sums[number, place], counts[number, place] = sum(kept), len(kept)
    means = np.empty((DRAWS, len(models)))
    with np.errstate(invalid="ignore"):
        for row in means:
            chosen = rng.integers(len(groups), size=len(groups))
            row[:] = sums[:, chosen].sum(1) / counts[:, chosen].sum(1)
    return means.T


def _copies(
    metric: Metric, stats: Sequence[Stat], groups: Sequence[Sequence[int]], chosen: np.ndarray
) -> list[Stat]:
    """Return the measurements of drawn groups; what is drawn again counts as another one."""
    seen: dict[int, int] = {}
    found: list[Stat] = []
    for number in chosen.tolist():
        copy = seen[number] = seen.get(number, -1) + 1
        for at in groups[number]:
            stat = stats[at]
            if copy and metric.scored_with:
                name = f"{stat.parts[metric.scored_with]}\x1f{copy}"
                stat = replace(stat, parts={**stat.parts, metric.scored_with: name})
            found.append(stat)
    return found


def _columns(rows: Sequence[dict[str, float]]) -> dict[str, np.ndarray]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row.get(name, math.nan) for row in rows]) for name in names}


def _is_share(metric: Metric, name: str) -> bool:
    """Return whether a number lies between 0 and 1, where nothing and all can be told apart."""
    return name not in metric.as_is and {metric.best, metric.worst} == {0.0, 1.0}


def _is_mean(metric: Metric) -> bool:
    """Return whether the metric's only number is the mean score."""
    return type(metric).reduce is Metric.reduce


def _ends(values: np.ndarray) -> tuple[float | None, float | None]:
    values = values[np.isfinite(values)]
    if not len(values):
        return None, None
    low, high = np.percentile(values, _ENDS)
    return float(low), float(high)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
