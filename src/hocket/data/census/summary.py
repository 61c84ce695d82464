"""The figures of a data set: totals, percentiles and counts, for a table, JSON or a page.

Knows tables of numbers; must not know where they come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hocket.data.budget import Budget
from hocket.data.census.count import Census, Table
from hocket.data.census.forecast import Forecast, forecast
from hocket.data.census.measure import KINDS

PERCENTILES = (1, 5, 50, 95, 99)


@dataclass(frozen=True, slots=True)
class Spread:
    """Many numbers in a few.

    Attributes:
        count: how many there are.
        total: their sum.
        least: the smallest.
        most: the largest.
        mean: their mean.
        percentiles: percentile, as text -> value.
    """

    count: int
    total: float
    least: float
    most: float
    mean: float
    percentiles: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The figures of a data set.

    Attributes:
        rows: rows there are.
        tokenised: rows that can be tokenised.
        faults: what is wrong -> rows.
        media: modality -> how many can be opened.
        roles: role -> messages.
        scripts: writing system -> rows.
        placeholders: positions that media take.
        empty_answers: rows with an answer without text.
        figures: what is measured, such as ``tokens`` or ``audio seconds`` -> its spread.
        forecast: how rows would be packed.
    """

    rows: int
    tokenised: int
    faults: dict[str, int]
    media: dict[str, int]
    roles: dict[str, int]
    scripts: dict[str, int]
    placeholders: int
    empty_answers: int
    figures: dict[str, Spread]
    forecast: Forecast


def spread(values: np.ndarray) -> Spread | None:
    """Return the spread of numbers (N,), None where there are none."""
    if not len(values):
        return None
    cuts = np.percentile(values, PERCENTILES, method="higher")
    return Spread(
        count=len(values),
        total=float(values.sum()),
        least=float(values.min()),
        most=float(values.max()),
        mean=float(values.mean()),
        percentiles={f"p{at}": float(cut) for at, cut in zip(PERCENTILES, cuts, strict=True)},
    )


def columns(census: Census) -> dict[str, np.ndarray]:
    """Return what is measured, each float or int (N,), with the names that people read."""
    rows, media = census.rows, census.media
    by_kind = {kind.value: media[media["kind"] == at] for at, kind in enumerate(KINDS)}
    image, audio, video = by_kind["image"], by_kind["audio"], by_kind["video"]
    return {
        "tokens": rows["tokens"],
        "learned tokens": rows["learned"],
        "turns": rows["turns"],
        "image pixels": image["height"] * image["width"],
        "audio seconds": audio["seconds"],
        "video seconds": video["seconds"],
        "video frames": video["frames"],
        "video pixels": video["height"] * video["width"],
        "vision patches": rows["patches"][rows["patches"] > 0],
        "audio frames": rows["audio_frames"][rows["audio_frames"] > 0],
    }


def summarise(census: Census, budget: Budget, *, seed: int = 0) -> Summary:
    """Return the figures of a census; ``budget`` is what a packed row may cost."""
    media = census.media
    found = {name: spread(values) for name, values in columns(census).items()}
    kinds = np.bincount(media["kind"], minlength=len(KINDS))
    return Summary(
        rows=census.total,
        tokenised=len(census.rows),
        faults=_by_count(Counter(fault.trouble.value for fault in census.faults)),
        media={kind.value: int(count) for kind, count in zip(KINDS, kinds, strict=True)},
        roles=_by_count(census.roles),
        scripts=_by_count(census.scripts),
        placeholders=int(census.rows["placeholders"].sum()),
        empty_answers=int((census.rows["answer"] == 0).sum()),
        figures={name: one for name, one in found.items() if one is not None},
        forecast=forecast(census.rows, budget, seed=seed),
    )


def tokens_of(table: Table, sizes: Mapping[str, int]) -> dict[str, tuple[int, int, int]]:
    """Return rows, tokenised rows and tokens of each data set.

    Args:
        table: `Census.rows` of data sets that stand one behind the other.
        sizes: name -> rows of each, in that order.
    """
    found: dict[str, tuple[int, int, int]] = {}
    start = 0
    for name, count in sizes.items():
        mine = table[(table["number"] >= start) & (table["number"] < start + count)]
        found[name] = (count, len(mine), int(mine["tokens"].sum()))
        start += count
    return found


def _by_count(counts: Counter[str]) -> dict[str, int]:
    return dict(counts.most_common())
