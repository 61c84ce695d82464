"""Two real steps of a run on this machine: how much memory they take and how fast they are.

The run itself trains, through `hocket.train.run`, in a folder that is thrown away; it is left
behind its second step, when AdamW's state is there. On a GPU torch counts the memory. On a CPU the
kernel does: the most that was resident, less what was before the weights were made.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch

from hocket._errors import HocketError
from hocket._log import warn
from hocket.model.build import Built
from hocket.train.loop import Report
from hocket.train.recipe import FeaturePolicy
from hocket.train.run import Run, train
from hocket.train.state import TrainState

_STEPS = 2
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What two steps took.

    Attributes:
        peak: most bytes at once, beside what the process had before the model.
        seconds: wall time of the second step, without waiting for data.
        tokens: real tokens of the second step.
        device: what it ran on, such as ``cpu``.
    """

    peak: int
    seconds: float
    tokens: int
    device: str


class _EnoughError(HocketError):
    """Two steps are done."""


def measure(run: Run, stage: str, make: Callable[[], Built]) -> Measured:
    """Train two steps of one stage and return what they took; nothing of them is kept.

    Args:
        run: what would be done.
        stage: the stage that is measured.
        make: builds the model with its weights.

    Raises:
        ConfigError: the stage does not fit the model.
        DataError: the data cannot be read.
    """
    reports: list[tuple[Report, int]] = []

    def note(state: TrainState, report: Report) -> None:
        reports.append((report, _peak()))
        if len(reports) == _STEPS:
            raise _EnoughError("measured")

    only = replace(run.recipe.stages[stage], steps=max(_STEPS + 1, 3), epochs=0.0)
    recipe = replace(
        run.recipe,
        stages={stage: only},
        save_every=0,
        monitor_step=0,
        feature_cache=FeaturePolicy.OFF,
    )
    before = _restart()
    with tempfile.TemporaryDirectory(prefix="hocket-plan-") as folder:
        model, processor = make()
        with contextlib.suppress(_EnoughError):
            train(replace(run, recipe=recipe, out=Path(folder) / "run"), model, processor, [note])
    last, peak = reports[-1]
    return Measured(
        peak=peak - before,
        seconds=last.step_seconds - last.data_seconds,
        tokens=last.tokens,
        device=str(model.device),
    )


def _restart() -> int:
    """Forget the peak so far and return the bytes that are there now."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())
    try:
        _CLEAR.write_text("5")
    except OSError:
        warn("this system cannot forget a process's peak, so the measured one may be too high.")
    return int(psutil.Process().memory_info().rss)


def _peak() -> int:
    """Return the most bytes at once since the last restart."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    if not _STATUS.exists():
        return int(psutil.Process().memory_info().rss)
    lines = _STATUS.read_text().splitlines()
    found = next(line for line in lines if line.startswith("VmHWM:"))
    return int(found.split()[1]) * 1024
