"""A slice of the chaos suite; `python -m tests.chaos` stops ten times as often."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.chaos.suite import stop_runs
from tests.chaos.trainer import cases

MEMORY = Path("/dev/shm")
SECONDS = 400  # behind these no chain begins


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder in memory where there is one: to flush takes long on a busy disk."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as made:
        yield Path(made)


@pytest.mark.slow
def test_twenty_stops(quick_folder: Path) -> None:
    lines: list[str] = []
    figures = stop_runs(
        quick_folder,
        kills=20,
        chosen=cases()[:3],
        rng=random.Random(7),
        until=time.monotonic() + SECONDS,
        tell=lines.append,
    )
    assert figures.good, "\n".join(lines + figures.failed)
    assert sum(one.stops for one in figures.tallies.values()) >= 20
