"""Damaged sounds and videos."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.abuse.door import door
from tests.abuse.mutate import mutated
from tests.abuse.seeds import sounds, videos
from tests.abuse.suite import Case, Expected, Size, Suite


def cases(count: int, folder: Path) -> Iterator[Case]:
    """Yield sounds and videos with damage, all kinds in turn, some sent as the other."""
    heard, seen = sounds(), videos()
    seeds = [*((one, "sound") for one in heard), *((one, "video") for one in seen)]
    whole = [one for one, _ in seeds]
    with door() as entry:
        for number in range(count):
            data, kind = seeds[number % len(seeds)]
            sent = "file" if number % 7 == 0 else kind
            case = partial(entry.take, mutated(data, whole, number), sent)
            yield Case(f"{number}", case, Expected.EITHER)


SUITE = Suite(
    name="audio and video fuzz",
    tries="damaged WAV, FLAC, Ogg, MP3, AIFF, MP4, MKV, WebM, AVI and MOV files from 18 whole ones",
    means="samples, frames or a refusal; no parent is lost, memory stays below 1.5 GB",
    counts={Size.CI: 3000, Size.NIGHTLY: 50_000},
    cases=cases,
    seconds=15.0,
    may_lose=True,
)
