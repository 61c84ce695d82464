"""What the processes of these tests do: whole small runs, several in one start."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from safetensors.torch import load_file
from tests.train.toy_run import recipe, train_toy
from torch import Tensor

from hocket.data.spec import DataSpec
from hocket.train.log import read_log
from hocket.train.loop import Report
from hocket.train.recipe import Group, Recipe, Schedule
from hocket.train.runtime import Runtime
from hocket.train.state import TrainState


class Case(NamedTuple):
    """A run: its name, which is its folder's, recipe, the tower's layer that is read, and data."""

    name: str
    recipe: Recipe
    layer: int = -1
    data: DataSpec | None = None


class StoppedError(Exception):
    """The test stopped a run."""


def three_steps(*, accumulate: int = 1, match: str = "*", save_every: int = 0) -> Recipe:
    """Return one stage of three steps in which few rows have a picture or a sound."""
    whole = recipe(rows=4, accumulate=accumulate, save_every=save_every, media=0.15)
    stage = replace(
        whole.stages["joint"],
        steps=3,
        warmup_steps=0,
        schedule=Schedule.CONSTANT,
        tokens_per_row=64,
        trainable={"chosen": Group(match=match, lr=1e-3, weight_decay=0.1)},
    )
    return replace(whole, stages={"joint": stage}, seed=8)


def train_all(folder: Path, out: Path, cases: Sequence[Case]) -> None:
    """Train each case in double precision, into a folder of its name."""
    for name, chosen, layer, data in cases:
        train_toy(folder, out / name, chosen, layer=layer, data=data, double=True)


def train_and_stop(folder: Path, out: Path, chosen: Recipe) -> None:
    """Train one run in one go, and another that stops behind its second step and goes on."""

    def stop(state: TrainState, report: Report) -> None:
        if state.step == 2:
            raise StoppedError

    # The hook comes before the second step is saved.
    with contextlib.suppress(StoppedError):
        train_toy(folder, out / "stopped", chosen, hooks=[stop])
    train_toy(folder, out / "stopped", chosen)
    train_toy(folder, out / "whole", chosen)


def train_listening(folder: Path, out: Path, chosen: Recipe, *, stop: int = 0) -> list[list[str]]:
    """Train in double precision, up to a step if one is given; return the samples of each step."""
    seen: list[list[str]] = []

    def have(runtime: Runtime, samples: Sequence[str]) -> None:
        seen.append(list(samples))

    def end(state: TrainState, report: Report) -> None:
        if state.step == stop:
            raise StoppedError

    with patch.object(Runtime, "have", have), contextlib.suppress(StoppedError):
        train_toy(folder, out, chosen, hooks=[end], double=True)
    return seen


def weights(out: Path) -> dict[str, Tensor]:
    """Return the weights that a run ended with."""
    return load_file(out / "model" / "model.safetensors")


def largest_difference(one: Path, other: Path) -> float:
    """Return how far the weights of two runs are apart."""
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


def loss_difference(one: Path, other: Path) -> float:
    """Return how far the losses of the steps of two runs are apart, as a share."""
    return max(
        abs(ours["loss"] - theirs["loss"]) / ours["loss"]
        for ours, theirs in zip(
            read_log(one / "log.jsonl"), read_log(other / "log.jsonl"), strict=True
        )
    )
