"""Evaluations on the terminal: progress with the time left, tables of scores and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from hocket.eval.compare import Comparison
from hocket.eval.resample import Figure
from hocket.eval.scores import Scores
from hocket.eval.shown import interval, notes, shown
from hocket.eval.sweep import Outcome
from hocket.eval.task import open_task

# The page shows them all.
_MOST_GROUPS = 6


class SweepProgress:
    """A bar for the exam that is under way, and a line for each that is done.

    Args:
        screen: where to show it.
    """

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=screen,
            transient=True,
        )
        self._model = ""
        self._what = ""
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def model(self, name: str) -> None:
        """Name the model of the exams to come."""
        self._model = name

    def begin(self, what: str, *, total: int, done: int) -> None:
        """Start the bar of an exam; the shards of one share a bar."""
        if self._task is not None and what == self._what:
            row = self._bar.tasks[self._bar.task_ids.index(self._task)]
            self._bar.update(
                self._task, total=(row.total or 0) + total, completed=row.completed + done
            )
            return
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._what = what
        self._task = self._bar.add_task(f"{self._model} {what}", total=total, completed=done)

    def advance(self) -> None:
        """Move the bar by a question."""
        if self._task is not None:
            self._bar.advance(self._task)

    def end(self, outcome: Outcome) -> None:
        """Say how an exam went."""
        name = f"{outcome.model} {outcome.exam}"
        if outcome.error is not None:
            said = Text("error: ", style="bold red").append(f"{name}: ", style="default")
            said.append(outcome.error, style="default")
        elif outcome.scores is None:
            said = Text("waits ", style="yellow").append(
                f"{name}: other shards have not answered theirs.", style="default"
            )
        elif outcome.scores.errors:
            said = Text("incomplete ", style="yellow").append(
                f"{name}: {outcome.scores.errors} of {outcome.scores.questions} questions could "
                "not be asked; the log says why. The same command asks them again.",
                style="default",
            )
        else:
            said = Text("skipped " if outcome.skipped else "done ", style="green")
            said.append(f"{name}", style="default")
        self._screen.print(said, soft_wrap=True)


def scores_table(scores: Sequence[Scores]) -> Table:
    """Return a row per model and exam, and one per blind way below it."""
    table = Table(title="Scores with their 95 % interval", box=SIMPLE_HEAD)
    table.add_column("exam", no_wrap=True)
    for heading in ("model", "metric"):
        table.add_column(heading, overflow="fold")
    table.add_column("n", justify="right")
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("notes", overflow="fold")
    for one in scores:
        table.add_row(
            one.exam,
            one.model,
            one.metrics[0].label,
            str(one.questions),
            f"{shown(one.headline.value, percent=one.percent)} "
            f"({interval(one.headline, percent=one.percent)})",
            notes(one),
        )
        for name, group in one.groups.items() if len(one.groups) <= _MOST_GROUPS else ():
            table.add_row(
                f"  {name or 'others'}",
                "",
                "",
                "",
                f"{shown(group.value, percent=one.percent)} "
                f"({interval(group, percent=one.percent)})",
                "",
                style="dim",
            )
        for way, drop in one.blind.items():
            change = Figure(name=way, value=drop.value, low=drop.low, high=drop.high)
            ends = interval(change, percent=one.percent)
            table.add_row(
                f"  {way}",
                "",
                "",
                "",
                shown(drop.second, percent=one.percent),
                f"{shown(drop.value, percent=one.percent, sign=True)} ({ends})",
                style="dim",
            )
    return table


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """Return a row per exam that both models have sat."""
    one = comparisons[0]
    table = Table(
        title=f"{one.second.model} against {one.first.model}, the same questions", box=SIMPLE_HEAD
    )
    table.add_column("exam", overflow="fold")
    for heading in ("n", "first", "second", "difference", "p (Holm)", "fixed/broken", "McNemar"):
        table.add_column(heading, justify="right", no_wrap=heading != "difference")
    for found in comparisons:
        percent, drop = found.first.percent, found.difference
        change = Figure(name="", value=drop.value, low=drop.low, high=drop.high)
        table.add_row(
            found.first.exam,
            str(found.questions),
            shown(drop.first, percent=percent),
            shown(drop.second, percent=percent),
            f"{shown(drop.value, percent=percent, sign=True)} "
            f"({interval(change, percent=percent)})",
            f"{found.corrected:.3f}",
            f"{len(found.fixed)}/{len(found.broken)}",
            f"{found.mcnemar.p:.3f}" if found.mcnemar else "-",
        )
    return table


def task_table(names: Sequence[str], data_root: Path) -> Table:
    """Return a row per task: what it is, and whether its files are below a folder."""
    table = Table(box=SIMPLE_HEAD)
    for heading in ("task", "benchmark", "tags", "files"):
        table.add_column(heading, overflow="fold")
    for name in names:
        task = open_task(name)
        folder = data_root / name
        there = any(layout.present(folder) for layout in task.layouts)
        table.add_row(name, task.title, ", ".join(task.tags), str(folder) if there else "-")
    return table
