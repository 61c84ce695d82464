"""A slice of the chaos suite; `python -m tests.chaos` stops ten times as often."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from tests.chaos.suite import stop_runs

SECONDS = 45  # behind these no chain begins: a busy machine stops fewer


@pytest.mark.slow
def test_twenty_stops(tmp_path: Path) -> None:
    lines: list[str] = []
    figures = stop_runs(
        tmp_path,
        kills=20,
        rng=random.Random(7),
        until=time.monotonic() + SECONDS,
        tell=lines.append,
    )
    assert figures.good, "\n".join(lines + figures.failed)
    assert sum(one.stops for one in figures.tallies.values()) >= 2
