"""Confidence intervals of shares."""

from __future__ import annotations

import math
from typing import NamedTuple

Z_95 = 1.959963984540054


class Share(NamedTuple):
    """A share of successes with its 95 % Wilson interval.

    Attributes:
        value: successes over trials.
        low: lower end of the interval.
        high: upper end of the interval.
        trials: how many were tried.
    """

    value: float
    low: float
    high: float
    trials: int


def share(successes: int, trials: int) -> Share:
    """Return the share of successes with its Wilson (1927) score interval at 95 %."""
    if trials == 0:
        return Share(0.0, 0.0, 1.0, 0)
    p = successes / trials
    z2 = Z_95**2
    centre = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z_95 * math.sqrt(p * (1 - p) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    return Share(p, max(0.0, centre - half), min(1.0, centre + half), trials)
