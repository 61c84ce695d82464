"""Scores as people read them: percent where publications have it, with what must be known beside.

The terminal and the pages show the same words.
"""

from __future__ import annotations

from hocket.eval.resample import Figure
from hocket.eval.scores import Scores


def shown(value: float | None, *, percent: bool, sign: bool = False) -> str:
    """Return a number as tables print it: times 100 where publications do."""
    if value is None:
        return "-"
    number = 100 * value if percent else value
    return f"{number:+.1f}" if sign else f"{number:.1f}"


def interval(figure: Figure, *, percent: bool) -> str:
    """Return the ends of an interval, empty where there is none."""
    if figure.low is None or figure.high is None:
        return ""
    return f"{shown(figure.low, percent=percent)} to {shown(figure.high, percent=percent)}"


def notes(scores: Scores) -> str:
    """Return what must be known beside a score."""
    found = [
        f"{count} {what}"
        for count, what in (
            (scores.errors, "not asked"),
            (scores.invalid, "invalid"),
            (scores.unscored, "unscored"),
            (scores.cut, "cut off"),
        )
        if count
    ]
    near = [f"{one.model} {one.value:g}" for one in scores.published]
    return "; ".join([*found, *near])
