"""Numbers over the steps of a run in bounded memory: old points are merged as new ones come."""

from __future__ import annotations

import math

MOST_POINTS = 400


class Track:
    """One number over steps.

    Every point is the mean over equally many values; when there are too many points, neighbours
    become one.

    Attributes:
        xs: step of each point's first value.
        ys: mean of each point's values.
        last: the last value; not a number before the first.
    """

    def __init__(self) -> None:
        self.xs: list[int] = []
        self.ys: list[float] = []
        self.last = math.nan
        self._each = 1
        self._open = 0

    def add(self, step: int, value: float) -> None:
        """Take in a value; one that is not finite is left out."""
        if not math.isfinite(value):
            return
        self.last = value
        if self._open and self._open < self._each:
            self._open += 1
            self.ys[-1] += (value - self.ys[-1]) / self._open
            return
        if len(self.xs) >= MOST_POINTS:
            self._halve()
        self.xs.append(step)
        self.ys.append(value)
        self._open = 1

    def _halve(self) -> None:
        pairs = len(self.xs) // 2
        self.xs = [self.xs[2 * at] for at in range(pairs)]
        self.ys = [(self.ys[2 * at] + self.ys[2 * at + 1]) / 2 for at in range(pairs)]
        self._each *= 2
