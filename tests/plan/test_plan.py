"""Plans of a small run: what trains, how devices share it, what fits, and two measured steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.train.toy_run import build_model, data_spec, model_spec, recipe, write_rows

from hocket._errors import ConfigError, UnknownNameError
from hocket.model.build import build
from hocket.plan.gpus import gpu_named
from hocket.plan.limits import Limits
from hocket.plan.make import Planner, Setting, StagePlan
from hocket.plan.measure import measure
from hocket.plan.memory import Strategy, by_part
from hocket.train.run import Run

RECIPE = replace(recipe(), cache_mb=0, pool=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("rows")
    write_rows(made)
    return made


@pytest.fixture(scope="module")
def planner(folder: Path) -> Planner:
    built = build(model_spec(), ["some words to build a tokenizer from"], weights=False)
    return Planner(built, RECIPE, data_spec(folder))


def plan(planner: Planner, stage: str = "joint", variant: str = "", **setting: object) -> StagePlan:
    return planner.stage(stage, Setting(samples=8, **setting), variant)  # type: ignore[arg-type] # fields of Setting


def test_rows_are_those_of_the_mixture(planner: Planner) -> None:
    found = plan(planner)
    assert found.histogram is not None
    assert found.rows == 4
    assert found.histogram.quantiles["tokens"][-1] <= 128
    assert found.histogram.quantiles["patches"][-1] > 0
    assert 0 < found.mean_share <= 1


def test_what_is_frozen_has_no_gradients(planner: Planner) -> None:
    everything, bridges = plan(planner), plan(planner, variant="connector")
    lora = plan(planner, variant="lora")
    assert everything.sizes.training == pytest.approx(everything.sizes.parameters, rel=0.02)
    assert 0 < bridges.sizes.training < 0.2 * everything.sizes.training
    assert lora.sizes.parameters > everything.sizes.parameters
    peaks = [one.memory(Strategy.SINGLE).peak for one in (bridges, lora, everything)]
    assert peaks[0] < peaks[1] < peaks[2]
    assert bridges.traced.flops < everything.traced.flops


def test_half_the_digits_take_half_the_weights(planner: Planner) -> None:
    wide, narrow = plan(planner), plan(planner, dtype="bfloat16")
    assert narrow.sizes.weights * 2 == wide.sizes.weights
    assert narrow.traced.activations < 0.7 * wide.traced.activations


def test_checkpointing_trades_memory_for_work(planner: Planner) -> None:
    kept, again = plan(planner), plan(planner, checkpointing=True)
    assert again.traced.activations < kept.traced.activations
    assert again.traced.flops > kept.traced.flops


def test_devices_share_what_the_strategy_says(planner: Planner) -> None:
    found = plan(planner, devices=4)
    peaks = [found.memory(one) for one in (Strategy.DDP, Strategy.ZERO2, Strategy.ZERO3)]
    assert peaks[0].peak > peaks[1].peak > peaks[2].peak
    assert peaks[1].optimizer == pytest.approx(found.sizes.trainable * 2 / 4)
    assert peaks[2].weights < found.sizes.weights
    assert set(by_part(peaks[0])) == {
        "weights", "gradients", "optimizer", "activations", "logits", "buffers", "peak",
    }  # fmt: skip


def test_rows_that_devices_cannot_share_are_refused(planner: Planner) -> None:
    with pytest.raises(ConfigError, match=r"rows to a multiple of 3"):
        plan(planner, devices=3)


def test_without_data_rows_are_made_up() -> None:
    built = build(model_spec(), ["words"], weights=False)
    found = Planner(built, RECIPE, None).stage("joint", Setting())
    assert found.histogram is None
    assert found.traced.tokens == 4 * 128


def test_the_largest_fits_and_a_larger_does_not(planner: Planner) -> None:
    found = plan(planner)
    model = planner.prepared("joint", RECIPE.stages["joint"], Setting())
    peak = found.memory(Strategy.SINGLE).peak
    limits = Limits(
        model=model,
        processor=build(model_spec(), ["words"], weights=False).processor,
        sizes=found.sizes,
        strategy=Strategy.SINGLE,
        devices=1,
        usable=2 * peak,
    )
    most = dict(limits.largest(tokens_per_row=128))
    assert most["rows of 128 tokens in a micro-batch"] >= 4
    assert all(most.values())
    tight = replace(limits, usable=found.sizes.weights)
    assert set(dict(tight.largest(tokens_per_row=128)).values()) == {0}


def test_two_steps_are_measured_and_nothing_is_kept(folder: Path, tmp_path: Path) -> None:
    run = Run(recipe=RECIPE, data=data_spec(folder), out=tmp_path / "out")
    found = measure(run, "joint", lambda: build_model(folder))
    assert found.device == "cpu"
    assert found.peak > 0
    assert found.seconds > 0
    assert found.tokens > 0
    assert not (tmp_path / "out").exists()


def test_an_unknown_gpu_is_named() -> None:
    assert gpu_named("h100").usable < 80e9
    with pytest.raises(UnknownNameError, match="h1000"):
        gpu_named("h1000")
