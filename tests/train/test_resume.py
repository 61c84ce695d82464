"""A run stopped anywhere, in any way, ends with the very bits of a run that was left alone."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.train.toy_run import losses, recipe, start, train_toy, write_rows

from hocket._errors import CheckpointError
from hocket.train.loop import Report
from hocket.train.recipe import Recipe
from hocket.train.run import RunStoppedError
from hocket.train.state import TrainState

SECONDS = 120


class StoppedError(Exception):
    """What the hook below raises."""


class StopAt:
    """A hook that raises behind a step of a stage, before that step is saved."""

    def __init__(self, stage: str, step: int) -> None:
        self._at = (stage, step)

    def __call__(self, state: TrainState, report: Report) -> None:
        if (state.stage, state.step) == self._at:
            raise StoppedError


def signal_at(stage: str, step: int, number: int) -> StopAt:
    """Return a hook that sends this process a signal behind a step."""

    class Sends(StopAt):
        def __call__(self, state: TrainState, report: Report) -> None:
            if (state.stage, state.step) == (stage, step):
                os.kill(os.getpid(), number)

    return Sends(stage, step)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


@pytest.fixture(scope="module")
def left_alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone")
    train_toy(folder, out, recipe())
    return out


def assert_same_run(ours: Path, theirs: Path) -> None:
    """Compare every weight bit for bit, and every loss of the log."""
    weights, others = (load_file(out / "model" / "model.safetensors") for out in (ours, theirs))
    assert weights.keys() == others.keys()
    different = [name for name in weights if not torch.equal(weights[name], others[name])]
    assert not different
    assert losses(ours) == losses(theirs)


def seen_tokens(out: Path) -> int:
    document = json.loads((out / "model" / "provenance.json").read_text(encoding="utf-8"))
    return int(document["tokens_seen"])


def test_two_runs_are_the_same(folder: Path, left_alone: Path, tmp_path: Path) -> None:
    train_toy(folder, tmp_path, recipe(workers=2, save_every=0))
    assert_same_run(left_alone, tmp_path)


def test_the_loss_falls(left_alone: Path) -> None:
    joint = [loss for stage, _, loss in losses(left_alone) if stage == "joint"]
    assert len(joint) == 5
    assert joint[-1] < joint[0] - 0.3


@pytest.mark.parametrize(("workers", "save_every"), [(0, 1), (2, 3)])
def test_a_run_stopped_in_both_stages_and_at_their_border(
    folder: Path, left_alone: Path, tmp_path: Path, workers: int, save_every: int
) -> None:
    chosen = recipe(workers=workers, save_every=save_every)
    # A stop comes before that step is saved, so each of these goes on inside a stage, but one.
    rng = random.Random(workers)
    stops = [("align", 4 if save_every == 3 else rng.randint(2, 4)), ("joint", 1)]
    stops.append(("joint", rng.randint(4, 5)))
    for stage, step in stops:
        with pytest.raises(StoppedError):
            train_toy(folder, tmp_path, chosen, hooks=[StopAt(stage, step)])
        assert not (tmp_path / "model").exists()
    train_toy(folder, tmp_path, chosen)
    assert_same_run(left_alone, tmp_path)
    assert seen_tokens(tmp_path) == seen_tokens(left_alone)


def test_a_parameter_that_no_sample_has_reached_yet(folder: Path, tmp_path: Path) -> None:
    # The last layer of a tower read at its second last has no gradient, so AdamW no state for it.
    chosen = recipe(steps=(1, 2))
    train_toy(folder, tmp_path / "alone", chosen, layer=-2)
    with pytest.raises(StoppedError):
        train_toy(folder, tmp_path / "cut", chosen, layer=-2, hooks=[StopAt("joint", 2)])
    train_toy(folder, tmp_path / "cut", chosen, layer=-2)
    assert_same_run(tmp_path / "alone", tmp_path / "cut")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_stops(
    folder: Path, left_alone: Path, tmp_path: Path, number: signal.Signals
) -> None:
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    chosen = recipe(save_every=0)
    with pytest.raises(RunStoppedError) as stopped:
        train_toy(folder, tmp_path, chosen, hooks=[signal_at("joint", 3, number)])
    assert stopped.value.checkpoint == tmp_path / "checkpoints" / "joint-step-000003"
    assert stopped.value.exit_code == (130 if number == signal.SIGINT else 124)
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    train_toy(folder, tmp_path, chosen)
    assert_same_run(left_alone, tmp_path)


def test_a_finished_run_is_left_as_it_is(folder: Path, left_alone: Path) -> None:
    weights = left_alone / "model" / "model.safetensors"
    before = (weights.stat().st_mtime_ns, (left_alone / "log.jsonl").read_bytes())
    assert train_toy(folder, left_alone, recipe()) == left_alone / "model"
    assert before == (weights.stat().st_mtime_ns, (left_alone / "log.jsonl").read_bytes())


def test_another_recipe_does_not_go_on(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        train_toy(folder, tmp_path, recipe(), hooks=[StopAt("joint", 2)])
    whole = recipe()
    renamed = Recipe(stages={"other": whole.stages["joint"]}, seed=3)
    with pytest.raises(CheckpointError, match="belongs to stage 'joint', but the recipe has"):
        train_toy(folder, tmp_path, renamed)
    fewer = Recipe(stages={"joint": whole.stages["align"]}, seed=3)
    with pytest.raises(CheckpointError, match=r"does not train now\. The recipe"):
        train_toy(folder, tmp_path, fewer)


@pytest.fixture(scope="module")
def stopped(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with the checkpoints joint 1, 2 and 3."""
    out = tmp_path_factory.mktemp("stopped")
    with pytest.raises(StoppedError):
        train_toy(folder, out, recipe(), hooks=[StopAt("joint", 4)])
    return out


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("model.safetensors", "flip"),
        ("model.safetensors", "cut"),
        ("training/optimizer.safetensors", "flip"),
        ("training/state.json", "cut"),
        ("training/state.json", "gone"),
        ("manifest.json", "cut"),
        ("manifest.json", "gone"),
    ],
)
def test_a_damaged_checkpoint_is_skipped_with_a_warning(
    folder: Path,
    stopped: Path,
    left_alone: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    kind: str,
) -> None:
    out = shutil.copytree(stopped, tmp_path / "out")
    newest = out / "checkpoints" / "joint-step-000003"
    file = newest / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    if kind == "gone":
        file.unlink()
    else:
        file.write_bytes(bytes(data) if kind == "flip" else bytes(data[: len(data) // 2]))
    first: list[int] = []
    train_toy(folder, out, recipe(save_every=0), hooks=[lambda state, _: first.append(state.step)])
    (line,) = [one.getMessage() for one in caplog.records if "skipped" in one.getMessage()]
    assert line.startswith("checkpoint skipped: ") and newest.name in line
    assert first == [3, 4, 5], "the checkpoint before holds step 2"
    assert_same_run(left_alone, out)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_kills_at_random_moments(
    folder: Path, left_alone: Path, tmp_path: Path, workers: int
) -> None:
    chosen = recipe(workers=workers)
    rng = random.Random(workers)
    log = tmp_path / "log.jsonl"
    for wanted in (1, 4, 7):
        process = start(folder, tmp_path, chosen, env={"OMP_NUM_THREADS": "1"})
        deadline = time.monotonic() + SECONDS
        try:
            while process.is_alive() and _lines(log) < wanted:
                assert time.monotonic() < deadline
                time.sleep(0.002)
            # Somewhere in the steps and saves that follow; a step takes about 0.1 s.
            time.sleep(rng.uniform(0, 0.15))
        finally:
            process.kill()
            process.join()
        assert process.exitcode == -signal.SIGKILL
    train_toy(folder, tmp_path, chosen)
    assert_same_run(left_alone, tmp_path)
    leftovers = [path for path in tmp_path.rglob(".tmp-*") if path.parent.name == "checkpoints"]
    assert not leftovers


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def test_a_run_out_of_time_saves_and_goes_on(
    folder: Path, left_alone: Path, tmp_path: Path
) -> None:
    short = replace(recipe(save_every=0), stop_after_minutes=1e-9)
    starts = 0
    while not (tmp_path / "model").exists():
        starts += 1
        try:
            train_toy(folder, tmp_path, short)
        except RunStoppedError as error:
            assert error.exit_code == 124
    assert starts > 5  # one step each
    assert_same_run(left_alone, tmp_path)
