"""Wilson's interval against values worked out by hand."""

from __future__ import annotations

import pytest

from hocket.eval.interval import share


# (p + z2 / 2n -+ z sqrt(p (1 - p) / n + z2 / 4n2)) / (1 + z2 / n) with z2 = 3.841459, n = 10:
# 0/10: (0.1920729 -+ 0.1920729) / 1.3841459
# 5/10: (0.6920729 -+ 1.959964 sqrt(0.025 + 0.00960365)) / 1.3841459 = 0.5 -+ 0.2634070
@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.277533),
        (5, 10, 0.236593, 0.763407),
        (10, 10, 0.722467, 1.0),
        (1, 1, 0.206549, 1.0),
        (970, 1000, 0.957497, 0.978906),
    ],
)
def test_by_hand(successes: int, trials: int, low: float, high: float) -> None:
    found = share(successes, trials)
    assert found.value == successes / trials
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)
    assert found.trials == trials


def test_nothing_tried_says_nothing() -> None:
    assert share(0, 0) == (0.0, 0.0, 1.0, 0)


def test_more_trials_are_narrower() -> None:
    widths = [share(n // 2, n).high - share(n // 2, n).low for n in (2, 10, 100, 1000)]
    assert widths == sorted(widths, reverse=True)
