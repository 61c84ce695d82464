"""Two real steps of a run on this machine: how much memory they take and how fast they are.

The run itself trains, through `hocket.train.run`, in a process and a folder that are thrown away;
it is left behind its second step, when AdamW's state is there. On a GPU torch counts the memory. On
a CPU the kernel does: pages that belong to the process alone, which are those that it is killed
for. What it held when the model stood counts as nothing, the model's own tensors as they are.

The C library of the process is told to take blocks from the kernel and to give them back at once:
otherwise its gaps count too, and differ from run to run.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil
import torch

from hocket._env import for_child
from hocket._errors import HocketError, TrainingError
from hocket._log import warn
from hocket.model.build import Built
from hocket.train.loop import Report
from hocket.train.recipe import FeaturePolicy, Recipe
from hocket.train.run import Run, train
from hocket.train.state import TrainState

_STEPS = 2
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}


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
    """Train two steps of one stage in another process; nothing of them is kept.

    Args:
        run: what would be done, on one device.
        stage: the stage that is measured.
        make: builds the model with its weights; it must be picklable.

    Raises:
        TrainingError: the steps failed; the message is theirs.
    """
    plain = replace(run, on_stage=None, on_checkpoint=None, on_note=None, on_progress=None)
    with tempfile.TemporaryDirectory(prefix="hocket-plan-") as folder:
        answer = Path(folder) / "measured.json"
        done = subprocess.run(
            [sys.executable, "-m", "hocket.plan.measure", str(answer)],
            input=pickle.dumps((plain, stage, make)),
            check=False,
            env=for_child(_ALLOCATOR),
            # Ctrl-C is for this process, which ends the other.
            start_new_session=True,
        )
        if done.returncode:
            raise TrainingError(
                f"the two measured steps ended with code {done.returncode}; -9 is a lack of "
                "memory. Leave them out with --no-measure, or make rows smaller."
            )
        found = json.loads(answer.read_text("utf-8"))
    if "error" in found:
        raise TrainingError(f"the two measured steps failed: {found['error']}")
    return Measured(**found)


def measure_here(run: Run, stage: str, make: Callable[[], Built]) -> Measured:
    """Train two steps in this process, which should hold nothing else.

    Raises:
        HocketError: the steps failed.
    """
    reports: list[tuple[Report, int]] = []

    def note(state: TrainState, report: Report) -> None:
        reports.append((report, _peak()))
        if len(reports) == _STEPS:
            raise _EnoughError("measured")

    with tempfile.TemporaryDirectory(prefix="hocket-plan-") as folder:
        model, processor = make()
        tensors = (*model.parameters(), *model.buffers())
        own = sum(one.numel() * one.element_size() for one in tensors)
        before = _restart() - (0 if torch.cuda.is_available() else own)
        short = replace(run, recipe=_shortened(run.recipe, stage), out=Path(folder) / "run")
        with contextlib.suppress(_EnoughError):
            train(short, model, processor, [note])
        device = str(model.device)
    last, peak = reports[-1]
    return Measured(
        peak=peak - before,
        seconds=last.step_seconds - last.data_seconds,
        tokens=last.tokens,
        device=device,
    )


def _shortened(recipe: Recipe, stage: str) -> Recipe:
    """Return the recipe with nothing but a few steps of a stage that are never saved."""
    return replace(
        recipe,
        stages={stage: replace(recipe.stages[stage], steps=_STEPS + 1, epochs=0.0)},
        save_every=0,
        monitor_step=0,
        log_every=0,
        report_to=[],
        dashboard=0,
        previews=0,
        feature_cache=FeaturePolicy.OFF,
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
    return _private("VmRSS")


def _peak() -> int:
    """Return the most bytes at once since the last restart."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return _private("VmHWM")


def _private(field: str) -> int:
    """Return resident bytes now or at most, without pages of files, which libraries are."""
    if not _STATUS.exists():
        return int(psutil.Process().memory_info().rss)
    lines = (line.partition(":") for line in _STATUS.read_text().splitlines())
    found = {name: value.split() for name, _, value in lines}
    return (int(found[field][0]) - int(found["RssFile"][0])) * 1024


def _answer(file: Path) -> None:
    """Read a job from standard input, do it and write what was found into a file."""
    try:
        found: object = asdict(measure_here(*pickle.load(sys.stdin.buffer)))
    except HocketError as error:
        found = {"error": str(error)}
    file.write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    _answer(Path(sys.argv[1]))
