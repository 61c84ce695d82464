"""All faults over all cases, and the table of what became of the runs."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.kills import ChaosError, Fault, Tally, differences, ending, leave_alone, run_chain
from tests.chaos.table import format_table
from tests.chaos.trainer import Case, cases
from tests.train.toy_run import write_rows

HEAD = (
    "fault",
    "stops",
    "inside a save",
    "steps done again: mean / most",
    "files torn",
    "could not go on",
)


TEARS = (Fault.POWER, Fault.SHORT, Fault.FLIP)


@dataclass(slots=True)
class Figures:
    """What became of all runs.

    Attributes:
        tallies: of each fault, over all cases.
        equal: finished runs by case that ended bit for bit as one that was left alone.
        finished: finished runs by case.
        failed: messages of runs that did not go on or ended otherwise.
    """

    tallies: dict[Fault, Tally] = field(default_factory=lambda: {one: Tally() for one in Fault})
    equal: dict[str, int] = field(default_factory=dict)
    finished: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether every run ended as one that was left alone."""
        return not self.failed and self.equal == self.finished

    def add(self, found: dict[Fault, Tally]) -> None:
        """Add what one chain saw."""
        for fault, one in found.items():
            total = self.tallies[fault]
            total.stops += one.stops
            total.inside_save += one.inside_save
            total.lost += one.lost
            total.torn += one.torn

    def table(self, *, seconds: float, seed: int) -> str:
        """Return both tables in Markdown."""
        rows = [
            (
                fault.value,
                one.stops,
                one.inside_save,
                f"{sum(one.lost) / max(len(one.lost), 1):.2f} / {max(one.lost, default=0)}",
                one.torn if fault in TEARS else "-",
                0 if self.good else "see below",
            )
            for fault, one in self.tallies.items()
        ]
        stops = sum(one.stops for one in self.tallies.values())
        ends = [
            (name, count, f"{self.equal.get(name, 0)} of {count}")
            for name, count in self.finished.items()
        ]
        parts = [
            format_table(HEAD, rows),
            format_table(("run (all augment, pack, mix media)", "finished", "bit-equal"), ends),
            f"{stops} stops in {seconds:.0f} s, seed {seed}, {os.cpu_count()} cores, CPU.",
            *(f"Failed: {line}" for line in self.failed),
        ]
        return "\n\n".join(parts)


def stop_runs(
    home: Path,
    *,
    kills: int,
    rng: random.Random,
    until: float,
    tell: Callable[[str], None],
    chosen: list[Case] | None = None,
) -> Figures:
    """Stop runs `kills` times.

    Args:
        home: a folder to work in.
        kills: stops in all.
        rng: picks faults and moments.
        until: `time.monotonic` after which no chain begins.
        tell: called with a line behind each chain.
        chosen: the cases; all if left out.
    """
    folder = home / "data"
    write_rows(folder)
    figures = Figures()
    alone = {}
    left = kills
    for number, case in enumerate(itertools.cycle(chosen or cases())):
        if left <= 0 or time.monotonic() > until:
            break
        if case.name not in alone:
            alone[case.name] = leave_alone(case, folder, home / f"alone-{len(alone)}")
        place = home / f"chain-{number}"
        try:
            found = run_chain(case, folder, place, _faults(rng, left), rng)
            differs = differences(ending(place / "out"), alone[case.name])
        except ChaosError as error:
            figures.failed.append(f"{case.name}: {error}")
            tell(f"{case.name}: {error}")
            break
        figures.add(found)
        left -= sum(one.stops for one in found.values())
        figures.finished[case.name] = figures.finished.get(case.name, 0) + 1
        figures.equal[case.name] = figures.equal.get(case.name, 0) + (not differs)
        tell(f"{case.name}: {differs or 'bit-equal'}, {left} stops left")
        if not differs:
            shutil.rmtree(place)
    return figures


def _faults(rng: random.Random, most: int) -> Iterator[Fault]:
    return itertools.islice(
        iter(lambda: rng.choice((Fault.KILL, Fault.KILL, Fault.KILL, Fault.POWER, *Fault)), ""),
        most,
    )
