"""DeepSpeed's own ZeRO-2 and ZeRO-3 learn what one process learns, and go on where they stopped."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from tests.together import together
from tests.train.parallel.runs import (
    Case,
    largest_difference,
    loss_difference,
    three_steps,
    train_all,
    train_and_stop,
    train_listening,
    weights,
)
from tests.train.toy_run import train_toy, write_rows
from torch import Tensor

from hocket.data.decoder import StepBatches
from hocket.train.log import read_log
from hocket.train.objective import Objective
from hocket.train.parallel import ComputeDtype, Sharding
from hocket.train.recipe import Adapter, OnNan, Recipe
from hocket.train.runtime import Runtime

TOLERANCE = 1e-6
CPU = {"device": "cpu"}
LANGUAGE = "model.language_model.*"
"""What every row uses: DeepSpeed lets what no row has used decay."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("deepspeed")
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


def beneath(folder: Path, recipe: Recipe, stage: int, **zero: Any) -> Recipe:
    """Return the recipe with DeepSpeed's stage and options."""
    file = folder / f"{'-'.join([str(stage), *zero])}.json"
    file.write_text(json.dumps({"zero_optimization": {"stage": stage} | zero}), "utf-8")
    return replace(recipe, sharding=Sharding.DEEPSPEED, deepspeed=str(file))


def train_single(folder: Path, out: Path, cases: Sequence[Case]) -> None:
    """Train each case in single precision."""
    for case in cases:
        train_toy(folder, out / case.name, case.recipe)


def train_poisoned(folder: Path, out: Path, cases: Sequence[Case]) -> None:
    """Train with a third batch whose loss is not finite."""
    plain = Objective.weigh
    for case in cases:
        met = itertools.count(1)

        def weigh(
            self: Objective, step: StepBatches, runtime: Runtime, met: Iterator[int] = met
        ) -> tuple[list[Tensor], Tensor]:
            weights, whole = plain(self, step, runtime)
            factor = float("nan") if next(met) == 3 else 1.0
            return [weight * factor for weight in weights], whole

        with patch.object(Objective, "weigh", weigh):
            train_all(folder, out, [case])


def assert_alike(alone: Path, shared: Path) -> None:
    assert largest_difference(alone, shared) <= TOLERANCE, shared.name
    assert loss_difference(alone, shared) <= TOLERANCE, shared.name
    logs = (read_log(one / "log.jsonl") for one in (alone, shared))
    for ours, theirs in zip(*logs, strict=True):
        assert theirs["grad_norm"] == pytest.approx(ours["grad_norm"], rel=1e-5), shared.name


@pytest.mark.slow
def test_two_processes_equal_one(folder: Path, tmp_path: Path) -> None:
    """Some steps lack a kind of media on one rank, some on both."""
    plain, cut = (three_steps(accumulate=count, match=LANGUAGE) for count in (1, 2))
    train_all(folder, tmp_path, [Case("alone", plain)])
    offload = {"offload_optimizer": CPU}
    cases = [
        Case("two", beneath(folder, plain, 2)),
        Case("two in parts", beneath(folder, cut, 2)),
        Case("two offloaded", beneath(folder, cut, 2, **offload)),
        Case("three", beneath(folder, plain, 3)),
        Case("three in parts", beneath(folder, cut, 3)),
        Case("three offloaded", beneath(folder, cut, 3, **offload, offload_param=CPU)),
    ]
    together(2, train_all, folder, tmp_path, cases)
    for case in cases:
        assert_alike(tmp_path / "alone", tmp_path / case.name)


@pytest.mark.slow
@pytest.mark.parametrize("rule", [OnNan.SKIP, OnNan.ROLLBACK])
def test_a_bad_batch_never_reaches_the_weights(folder: Path, tmp_path: Path, rule: OnNan) -> None:
    plain = replace(three_steps(accumulate=2, match=LANGUAGE, save_every=1), on_nan=rule)
    train_poisoned(folder, tmp_path, [Case("alone", plain)])
    cases = [
        Case("two", beneath(folder, plain, 2)),
        Case("three", beneath(folder, plain, 3)),
        Case("two offloaded", beneath(folder, plain, 2, offload_optimizer=CPU)),
        Case("three offloaded", beneath(folder, plain, 3, offload_optimizer=CPU)),
    ]
    together(2, train_poisoned, folder, tmp_path, cases)
    for case in cases:
        assert (tmp_path / case.name / "bad_batches.jsonl").exists()
        assert_alike(tmp_path / "alone", tmp_path / case.name)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_a_stopped_run_goes_on_bit_for_bit(folder: Path, tmp_path: Path, stage: int) -> None:
    """Everything trains, though few rows have a picture or a sound, and a tower's last layer."""
    chosen = beneath(folder, three_steps(save_every=1), stage)
    together(2, train_and_stop, folder, tmp_path, chosen)
    assert largest_difference(tmp_path / "whole", tmp_path / "stopped") == 0


@pytest.mark.slow
def test_stages_and_adapters(folder: Path, tmp_path: Path) -> None:
    """An adapter on a frozen language model, then the model that it is merged into."""
    whole = three_steps(match=LANGUAGE)
    adapter = Adapter(kind="lora", options={"r": 2}, lr=1e-3)
    first = replace(whole.stages["joint"], trainable={}, adapters={"own": adapter})
    plain = replace(whole, stages={"adapter": first, "joint": whole.stages["joint"]})
    train_all(folder, tmp_path, [Case("alone", plain)])
    cases = [Case(str(stage), beneath(folder, plain, stage)) for stage in (2, 3)]
    together(2, train_all, folder, tmp_path, cases)
    for case in cases:
        assert_alike(tmp_path / "alone", tmp_path / case.name)


@pytest.mark.slow
def test_another_sharding_goes_on(folder: Path, tmp_path: Path) -> None:
    plain = three_steps(match=LANGUAGE, save_every=1)
    train_all(folder, tmp_path, [Case("alone", plain)])
    two, three = (beneath(folder, plain, stage) for stage in (2, 3))
    # The hook comes before the second step is saved, so that step is done again.
    together(2, partial(train_listening, stop=2), folder, tmp_path / "from three", three)
    train_listening(folder, tmp_path / "from three", plain)
    train_listening(folder, tmp_path / "to two", plain, stop=2)
    together(2, train_listening, folder, tmp_path / "to two", two)
    for name in ("from three", "to two"):
        assert_alike(tmp_path / "alone", tmp_path / name)


@pytest.mark.slow
def test_unequal_counts_of_steps_do_not_go_on(folder: Path, tmp_path: Path) -> None:
    """Alone, AdamW has passed over what no sample had reached; DeepSpeed cannot."""
    plain = three_steps(save_every=1)
    train_listening(folder, tmp_path, plain, stop=3)
    with pytest.raises(AssertionError, match="have seen 1 to 2 steps, but DeepSpeed has one"):
        together(2, train_listening, folder, tmp_path, beneath(folder, plain, 3))


@pytest.mark.slow
def test_bfloat16_is_computed_in_and_not_kept(folder: Path, tmp_path: Path) -> None:
    plain = three_steps(match=LANGUAGE)
    narrow = replace(plain, compute_dtype=ComputeDtype.BFLOAT16)
    cases = [Case(str(stage), beneath(folder, narrow, stage)) for stage in (2, 3)]
    together(2, train_single, folder, tmp_path, [Case("wide", beneath(folder, plain, 2)), *cases])
    two, three = tmp_path / "2", tmp_path / "3"
    assert loss_difference(two, three) <= TOLERANCE
    assert 1e-5 < loss_difference(tmp_path / "wide", two) < 1e-2
    assert all(one.dtype == torch.float32 for one in weights(two).values())
