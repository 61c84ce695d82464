"""Damaged pictures."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.abuse.door import door
from tests.abuse.mutate import mutated
from tests.abuse.seeds import pictures
from tests.abuse.suite import Case, Expected, Size, Suite


def cases(count: int, folder: Path) -> Iterator[Case]:
    """Yield pictures with damage, all kinds in turn."""
    seeds = pictures()
    with door() as entry:
        for number in range(count):
            data = mutated(seeds[number % len(seeds)], seeds, number)
            yield Case(f"{number}", partial(entry.take, data, "image"), Expected.EITHER)


SUITE = Suite(
    name="image fuzz",
    tries="damaged JPEG, PNG, GIF, WebP and BMP files from 20 whole ones",
    means="pixels or a refusal; the decoder lives, its memory stays below 1.5 GB",
    counts={Size.CI: 5000, Size.NIGHTLY: 100_000},
    cases=cases,
    seconds=15.0,
)
