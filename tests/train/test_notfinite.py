"""A batch whose loss is not finite never reaches the weights, whatever the recipe does then."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.train.test_resume import StopAt, StoppedError, assert_same_run
from tests.train.toy_run import losses, recipe, train_toy, write_rows
from torch import Tensor

from hocket._errors import TrainingError
from hocket.data.decoder import StepBatches
from hocket.train import loop
from hocket.train.log import read_log
from hocket.train.loop import Report
from hocket.train.notfinite import MOST_SKIPPED
from hocket.train.objective import Objective
from hocket.train.recipe import OnNan, Recipe, Stage
from hocket.train.runtime import Runtime
from hocket.train.state import TrainState

Poison = Callable[[Callable[[StepBatches], bool]], None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Poison:
    """Return what makes the loss of some batches NaN."""
    plain = Objective.weigh

    def spoil(is_bad: Callable[[StepBatches], bool]) -> None:
        def weigh(self: Objective, step: StepBatches, runtime: Runtime) -> tuple[list[Tensor], Any]:
            weights, whole = plain(self, step, runtime)
            factor = float("nan") if is_bad(step) else 1.0
            return [weight * factor for weight in weights], whole

        monkeypatch.setattr(Objective, "weigh", weigh)

    return spoil


def with_rule(rule: OnNan, *, save_every: int = 1) -> Recipe:
    """Return the joint stage alone, five steps of it."""
    plain = recipe(save_every=save_every)
    return replace(plain, stages={"joint": plain.stages["joint"]}, on_nan=rule)


class Third:
    """Picks the third batch that is seen, and the same one whenever it comes again."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.met = 0

    def __call__(self, step: StepBatches) -> bool:
        if step.after.cursor not in self.seen:
            self.seen.append(step.after.cursor)
        found = self.seen.index(step.after.cursor) == 2
        self.met += found
        return found


def listed(out: Path) -> list[dict[str, Any]]:
    """Return the batches that were written down."""
    return [json.loads(line) for line in (out / "bad_batches.jsonl").read_text().splitlines()]


def assert_finite(out: Path) -> None:
    """Check every weight of a finished run."""
    weights = load_file(out / "model" / "model.safetensors")
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())
    assert [step for _, step, _ in losses(out)] == [1, 2, 3, 4, 5]


def test_halt_names_the_samples(folder: Path, tmp_path: Path, poison: Poison) -> None:
    poison(Third())
    with pytest.raises(TrainingError, match="step 3: the loss is nan"):
        train_toy(folder, tmp_path, with_rule(OnNan.HALT))
    (line,) = listed(tmp_path)
    assert (line["stage"], line["step"], line["loss"], line["on_nan"]) == (
        "joint",
        3,
        "nan",
        "halt",
    )
    assert line["samples"] and all(".json" in name for name in line["samples"])


@pytest.mark.parametrize("rule", [OnNan.SKIP, OnNan.ROLLBACK])
def test_the_run_goes_on_and_resumes_the_same(
    folder: Path, tmp_path: Path, poison: Poison, rule: OnNan
) -> None:
    chosen = with_rule(rule, save_every=2)
    poison(Third())
    train_toy(folder, tmp_path / "alone", chosen)
    assert_finite(tmp_path / "alone")
    (line,) = listed(tmp_path / "alone")
    assert line["step"] == 3 and line["on_nan"] == rule.value
    again = Third()
    poison(again)
    # It dies behind the bad batch, before that is saved, and meets it a second time.
    with pytest.raises(StoppedError):
        train_toy(folder, tmp_path / "cut", chosen, hooks=[StopAt("joint", 3)])
    train_toy(folder, tmp_path / "cut", chosen)
    assert again.met == 2
    assert_same_run(tmp_path / "alone", tmp_path / "cut")
    assert len(listed(tmp_path / "cut")) == 1


def test_a_roll_back_does_steps_again(folder: Path, tmp_path: Path, poison: Poison) -> None:
    poison(Third())
    done: list[int] = []

    def note(state: TrainState, report: Report) -> None:
        done.append(state.step)

    # The checkpoint of step 2 is there when the third batch is met; steps 1 and 2 are not done
    # again. Saved every third step, there is none to go back to.
    train_toy(folder, tmp_path / "every", with_rule(OnNan.ROLLBACK), hooks=[note])
    assert done == [1, 2, 3, 4, 5]
    poison(Third())
    with pytest.raises(TrainingError, match="no checkpoint to roll back to yet"):
        train_toy(folder, tmp_path / "none", with_rule(OnNan.ROLLBACK, save_every=3))


class Fifth(Third):
    """Picks the fifth batch."""

    def __call__(self, step: StepBatches) -> bool:
        if step.after.cursor not in self.seen:
            self.seen.append(step.after.cursor)
        return self.seen.index(step.after.cursor) == 4


def test_weights_and_log_go_back(folder: Path, tmp_path: Path, poison: Poison) -> None:
    poison(Fifth())
    done: list[int] = []
    train_toy(
        folder,
        tmp_path,
        with_rule(OnNan.ROLLBACK, save_every=3),
        hooks=[lambda state, _: done.append(state.step)],
    )
    assert done == [1, 2, 3, 4, 4, 5]
    assert_finite(tmp_path)
    assert [line["step"] for line in read_log(tmp_path / "log.jsonl")] == [1, 2, 3, 4, 5]


def checkpoints(out: Path) -> list[str]:
    """Return the names of the checkpoints, and check that every tensor in them is finite."""
    found = sorted(out.glob("checkpoints/*-step-*"))
    for file in (file for folder in found for file in folder.rglob("*.safetensors")):
        assert all(bool(torch.isfinite(value).all()) for value in load_file(file).values()), file
    return [folder.name for folder in found]


def test_an_overflow_of_the_optimizer_is_not_saved(folder: Path, tmp_path: Path) -> None:
    plain = with_rule(OnNan.HALT)
    # A number of float64 that is none of float32: the gradient is finite, the step is not.
    stage = replace(plain.stages["joint"], trainable={}, train_modules="connector:1e42")
    chosen = replace(plain, stages={"joint": stage})
    words = "step 1: the loss is [0-9.]+, .* not finite any more and are not saved. Samples: "
    with pytest.raises(TrainingError, match=words):
        train_toy(folder, tmp_path, chosen)
    assert checkpoints(tmp_path) == []
    (line,) = listed(tmp_path)
    assert line["step"] == 1 and line["samples"]


@pytest.mark.parametrize(("rule", "save_every"), [(r, n) for r in OnNan for n in (1, 2)])
def test_weights_that_overflow_go_back_to_whole_ones(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: OnNan, save_every: int
) -> None:
    plain = loop.set_learning_rate
    done: list[int] = []

    def spoil(optimizer: torch.optim.Optimizer, stage: Stage, step: int) -> float:
        found = plain(optimizer, stage, step)
        if step == 2 and done.count(2) == 1 and not listed_yet(tmp_path):
            for group in optimizer.param_groups:
                group["lr"] = 1e42
        return found

    monkeypatch.setattr(loop, "set_learning_rate", spoil)
    chosen = with_rule(rule, save_every=save_every)
    hooks = [lambda state, _: done.append(state.step)]
    if rule is OnNan.HALT:
        # Saved every second step, it is met by the batch behind, before anything is saved.
        step, loss = (3, r"[0-9.]+") if save_every == 1 else (4, "nan")
        with pytest.raises(TrainingError, match=rf"step {step}: the loss is {loss}, .*not saved"):
            train_toy(folder, tmp_path, chosen, hooks=hooks)
        assert checkpoints(tmp_path)[-1] == "joint-step-000002"
        return
    train_toy(folder, tmp_path, chosen, hooks=hooks)
    assert done == [1, 2, 3, 3, 4, 5]
    assert_finite(tmp_path)
    checkpoints(tmp_path)
    assert len(listed(tmp_path)) == 1


def listed_yet(out: Path) -> bool:
    """Return whether a batch was written down."""
    return (out / "bad_batches.jsonl").exists()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_number_is_enough(bad: float) -> None:
    runtime = Runtime()
    large = [torch.full((3,), 3e38), torch.zeros(0), torch.ones(2, dtype=torch.bfloat16)]
    # The squares of large numbers overflow, which is none of their fault.
    assert runtime.all_finite(large) and runtime.all_finite([])
    assert not runtime.all_finite([*large, torch.tensor([0.0, bad, 1.0])])


def test_skipping_ends_where_nothing_else_comes(
    folder: Path, tmp_path: Path, poison: Poison
) -> None:
    poison(lambda step: True)
    with pytest.raises(TrainingError, match=f"{MOST_SKIPPED} batches before it were skipped"):
        train_toy(folder, tmp_path, with_rule(OnNan.SKIP))
    assert len(listed(tmp_path)) == MOST_SKIPPED + 1
