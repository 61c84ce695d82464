"""The chaos suite: stops runs at random moments and writes a table of what became of them.

::

    python -m tests.chaos --kills 200 --write docs/reliability.md
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.suite import stop_runs
from tests.chaos.table import put_table

NAME = "chaos"


def main() -> int:
    """Run the suite; return 0 if every run ended as one that was left alone."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="stops in all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--minutes", type=float, default=60, help="start no chain after this long")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder if left out")
    parser.add_argument("--write", type=Path, help="page whose table is replaced")
    given = parser.parse_args()
    began = time.monotonic()
    if given.folder:
        given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.folder) as home:
        figures = stop_runs(
            Path(home),
            kills=given.kills,
            rng=random.Random(given.seed),
            until=began + 60 * given.minutes,
            tell=_say,
        )
    text = figures.table(seconds=time.monotonic() - began, seed=given.seed)
    _say(text)
    if given.write:
        put_table(given.write, NAME, text)
    return 0 if figures.good else 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
