"""The live display of a run: where the run stands, how fast it is, how full its rows are.

On a terminal one line is redrawn in place; elsewhere a plain line is printed now and then.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from hocket.data.budget import Cuts
from hocket.train.loop import Report
from hocket.train.recipe import Stage
from hocket.train.state import TrainState

PLAIN_EVERY_SECONDS = 10.0
REDRAW_SECONDS = 0.1
SMOOTHING = 0.9


class Progress(AbstractContextManager["Progress"]):
    """A hook that shows where the run stands.

    Args:
        stages: every stage of the run, in order.
        console: where to draw.
    """

    def __init__(self, stages: Mapping[str, Stage], console: Console) -> None:
        self._stages = dict(stages)
        self._console = console
        self._live = Live(console=console, transient=True, auto_refresh=False)
        self._process = psutil.Process()
        self._loss = self._rate = self._step_seconds = self._waiting = 0.0
        self._sums = _Sums()
        self._last_print = time.monotonic()
        self._saved: tuple[Path, float] | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def on_stage(self, name: str, stage: Stage, trainable: list[tuple[str, ...]]) -> None:
        """Print what trains in a stage before it starts."""
        titles = ["group", "parameters matching", "count", "peak lr", "decay"]
        # Only where a group has its own; the stage's is the same for all others.
        shown = {row[5:] for row in trainable} - {(str(stage.schedule), str(stage.warmup_steps))}
        titles += ["schedule", "warm-up"] if shown else []
        table = Table(*titles, box=None)
        for row in trainable:
            table.add_row(*row[: len(titles)])
        self._stages[name] = stage  # its steps may have been counted from its epochs
        number = list(self._stages).index(name) + 1
        self._loss = 0.0
        self._sums = _Sums()
        self._console.print(
            f"[bold]stage {number}/{len(self._stages)}: {name}[/bold]  {stage.steps} steps of "
            f"{stage.rows} x {stage.tokens_per_row} tokens, data: {', '.join(stage.data)}"
        )
        self._console.print(table)

    def on_note(self, text: str) -> None:
        """Print what the run decided by itself."""
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)

    def on_progress(self, what: str, done: int, total: int) -> None:
        """Show how far some work before a stage is."""
        now = time.monotonic()
        every = REDRAW_SECONDS if self._live.is_started else PLAIN_EVERY_SECONDS
        if now - self._last_print < every:
            return
        self._last_print = now
        text = f"{what} {done:,}/{total:,}"
        if self._live.is_started:
            grid = Table.grid(padding=(0, 1))
            grid.add_row(ProgressBar(total=total, completed=done, width=20), text)
            self._live.update(grid, refresh=True)
        else:
            self._console.print(text, soft_wrap=True)

    def on_checkpoint(self, folder: Path) -> None:
        """Remember the last checkpoint written."""
        self._saved = (folder, time.monotonic())

    def __call__(self, state: TrainState, report: Report) -> None:
        """Take in one step."""
        self._loss = _smooth(self._loss, report.loss)
        self._rate = _smooth(self._rate, report.tokens / report.step_seconds)
        self._step_seconds = _smooth(self._step_seconds, report.step_seconds)
        self._waiting = _smooth(self._waiting, report.data_seconds / report.step_seconds)
        self._sums = self._sums.plus(report)
        if state.step == self._stages[state.stage].steps:
            self._console.print(f"{state.stage} done: {self._sums.told(report)}", soft_wrap=True)
        if self._console.is_terminal:
            self._live.update(self._line(state, report), refresh=True)
        elif time.monotonic() - self._last_print >= PLAIN_EVERY_SECONDS:
            self._last_print = time.monotonic()
            self._console.print(self._text(state, report), soft_wrap=True)

    def _line(self, state: TrainState, report: Report) -> Table:
        grid = Table.grid(padding=(0, 1))
        done, steps = self._steps_done(state), self._steps_in_all()
        grid.add_row(ProgressBar(total=steps, completed=done, width=20), self._text(state, report))
        return grid

    def _text(self, state: TrainState, report: Report) -> str:
        stage = self._stages[state.stage]
        left = (self._steps_in_all() - self._steps_done(state)) * self._step_seconds
        memory = self._process.memory_info().rss / 2**30
        parts = [
            f"{state.stage} {state.step}/{stage.steps}",
            f"loss {self._loss:.3f}",
            f"{self._rate:,.0f} tokens/s",
            f"rows {_filled(report.fill)}" if report.fill else f"padding {report.padding:.0%}",
            f"data {self._waiting:.0%}",
            f"{clock(left)} left",
            f"{memory:.1f} GB",
        ]
        if report.cuts:
            cut, skipped = (report.cuts.get(name, 0) for name in ("samples", "skipped"))
            parts.append(f"cut {cut:,}" + (f", too long {skipped:,}" if skipped else ""))
        if self._saved:
            folder, at = self._saved
            parts.append(f"saved {folder.name} {clock(time.monotonic() - at)} ago")
        return "  ".join(parts)

    def _steps_in_all(self) -> int:
        return sum(stage.steps for stage in self._stages.values())

    def _steps_done(self, state: TrainState) -> int:
        names = list(self._stages)
        before = names[: names.index(state.stage)]
        return sum(self._stages[name].steps for name in before) + state.step


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over the steps of a stage that this process has done."""

    steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    fill: Mapping[str, float] = field(default_factory=dict)

    def plus(self, report: Report) -> _Sums:
        fill = {name: self.fill.get(name, 0.0) + share for name, share in report.fill.items()}
        return _Sums(
            self.steps + 1,
            self.seconds + report.step_seconds,
            self.waited + report.data_seconds,
            fill,
        )

    def told(self, last: Report) -> str:
        fill = {name: share / self.steps for name, share in self.fill.items()}
        parts = [f"rows {_filled(fill)}"] if fill else []
        parts.append(f"{self.waited / self.seconds:.0%} of the time waiting for data")
        return ", ".join([*parts, Cuts(**last.cuts).told() or "no sample cut"])


def _filled(fill: Mapping[str, float]) -> str:
    """Return which part of the rows is used: of tokens, then of the other limits."""
    others = [f"{name.replace('_', ' ')} {share:.0%}" for name, share in fill.items()][1:]
    return f"{fill['tokens']:.0%} full" + (f" ({', '.join(others)})" if others else "")


def clock(seconds: float) -> str:
    """Return ``m:ss``, or ``h:mm:ss`` from an hour on."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def _smooth(old: float, new: float) -> float:
    return SMOOTHING * old + (1 - SMOOTHING) * new if old else new
