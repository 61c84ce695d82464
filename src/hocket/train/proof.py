"""A proof that a recipe resumes bit for bit: its first steps, left alone and broken off.

The second run is asked to stop in the middle of each stage, started again, and dies a step later
without a save. Weights, optimizer and losses must be those of the first, to the last bit.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import load_file

from hocket._env import world_size
from hocket._errors import ConfigError
from hocket.checkpoint.manifest import make_folder
from hocket.model.build import Built
from hocket.train.log import read_log
from hocket.train.loop import Report
from hocket.train.parallel.deepspeed import with_deepspeed
from hocket.train.precision import with_formats
from hocket.train.recipe import Recipe
from hocket.train.retention import checkpoints_of
from hocket.train.run import Run, train
from hocket.train.runtime import Runtime
from hocket.train.state import TrainState
from hocket.train.stop import RunStoppedError

FEWEST_STEPS = 3
_COMPARED = ("loss", "grad_norm", "tokens", "targets")


@dataclass(frozen=True, slots=True)
class Proof:
    """What two runs of a recipe came to.

    Attributes:
        breaks: where the second run was broken off, in words.
        steps: lines of the log that were compared.
        tensors: tensors of the weights and of the optimizer that were compared.
        differences: what is not the same, each in words.
    """

    breaks: list[str]
    steps: int
    tensors: int
    differences: list[str]

    @property
    def exact(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def prove_resume(run: Run, begin: Callable[[], Built], *, steps: int = 6) -> Proof:
    """Train a recipe's first steps twice, the second time broken off, and compare.

    Every process of a run of several calls it, and all of them find the same.

    Args:
        run: the recipe and its data; its folder is not touched.
        begin: makes the model and the processor that the first stage starts from.
        steps: optimizer steps of each stage.

    Returns:
        what was compared and what differs.

    Raises:
        ConfigError: so few steps leave no room to break off.
    """
    if steps < FEWEST_STEPS:
        raise ConfigError(f"{steps} steps prove nothing: take at least {FEWEST_STEPS}.")
    short = replace(run, recipe=_shorten(run.recipe, steps), on_checkpoint=None)
    with proof_folder(run) as folder:
        alone, broken = folder / "alone", folder / "broken"
        train(replace(short, out=alone), *begin())
        breaks = _Breaks(list(run.recipe.to_run()), at=steps // 2)
        while not (broken / "model").exists():
            try:
                train(replace(short, out=broken, on_stage=None), *begin(), [breaks])
            except (RunStoppedError, _DiedError):
                continue
        lines, different = _compare_logs(alone, broken)
        tensors, others = _compare_tensors(alone, broken)
    return Proof(breaks.told, lines, tensors, different + others)


@contextmanager
def proof_folder(run: Run) -> Iterator[Path]:
    """Open a folder that all processes of a run read, and remove it afterwards.

    That of several processes lies beside the run's own, which all machines see.

    Args:
        run: whose resume is proven.

    Raises:
        ConfigError: the processes cannot share the run.
    """
    prefix = "hocket-verify-resume-"
    if world_size() == 1:
        with tempfile.TemporaryDirectory(prefix=prefix) as name:
            yield Path(name)
        return
    recipe = with_formats(with_deepspeed(run.recipe))
    runtime = Runtime(
        recipe.sequence_parallel, recipe.sharding, recipe.fsdp, compute_dtype=recipe.compute_dtype
    )
    names = [""]
    if runtime.is_main:
        beside = run.out.absolute().parent
        make_folder(beside)
        names = [tempfile.mkdtemp(prefix=prefix, dir=beside)]
    dist.broadcast_object_list(names, device=runtime.device)
    try:
        yield Path(names[0])
        runtime.wait()
    finally:
        if runtime.is_main:
            shutil.rmtree(names[0], ignore_errors=True)


class _DiedError(Exception):
    """Ends a run as a crash would: nothing is saved."""


class _Breaks:
    """A hook that stops each stage once and lets it die a step later."""

    def __init__(self, stages: Sequence[str], *, at: int) -> None:
        self._left = [(name, at + dies, dies) for name in stages for dies in (False, True)]
        self.told: list[str] = []

    def __call__(self, state: TrainState, report: Report) -> None:
        if not self._left or (state.stage, state.step) != self._left[0][:2]:
            return
        _, step, dies = self._left.pop(0)
        self.told.append(f"{state.stage} step {step}: {'died' if dies else 'stopped and saved'}")
        if dies:
            raise _DiedError
        signal.raise_signal(signal.SIGTERM)


def _shorten(recipe: Recipe, steps: int) -> Recipe:
    stages = {name: replace(one, steps=steps, epochs=0.0) for name, one in recipe.stages.items()}
    return replace(
        recipe,
        stages=stages,
        save_every=0,
        stop_after_minutes=0.0,
        monitor_step=0,
        dashboard=0,
        report_to=[],
    )


def _compare_logs(alone: Path, broken: Path) -> tuple[int, list[str]]:
    """Return how many steps there are, and the first that differs."""
    logs = [read_log(out / "log.jsonl") for out in (alone, broken)]
    for one, other in zip_longest(*logs, fillvalue={}):
        for key in ("stage", "step", *_COMPARED):
            if one.get(key) != other.get(key):
                where = f"{one.get('stage')} step {one.get('step')}"
                what = f"{where}: {key} {one.get(key)!r} left alone, {other.get(key)!r} broken off"
                return len(logs[0]), [what]
    return len(logs[0]), []


def _compare_tensors(alone: Path, broken: Path) -> tuple[int, list[str]]:
    """Return how many tensors there are, and those that differ."""
    one, other = _tensors(alone), _tensors(broken)
    differences = [
        name if name in one and name in other else f"{name} is in one run only"
        for name in sorted(one.keys() | other.keys())
        if name not in one or name not in other or not _same_bits(one[name], other[name])
    ]
    return len(one), differences


def _tensors(out: Path) -> dict[str, torch.Tensor]:
    """Return all tensors of the finished model and of the last checkpoint, with the optimizer's."""
    found: dict[str, torch.Tensor] = {}
    for folder in (out / "model", checkpoints_of(out / "checkpoints")[0]):
        for file in sorted(folder.rglob("*.safetensors")):
            place = file.relative_to(out)
            found |= {f"{place}: {name}": value for name, value in load_file(file).items()}
    return found


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    left, right = (value.contiguous().flatten().view(torch.uint8) for value in (one, other))
    return torch.equal(left, right)
