"""Plans of a small run: what trains, how devices share it, what fits, and two measured steps."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.train.toy_run import build_model, data_spec, model_spec, recipe, write_rows

from hocket._errors import ConfigError, TrainingError, UnknownNameError
from hocket.model.build import build
from hocket.plan.found import Question, find, possible
from hocket.plan.gpus import gpu_named
from hocket.plan.limits import Limits
from hocket.plan.make import Planner, Setting, StagePlan, able
from hocket.plan.measure import Measured, measure
from hocket.plan.memory import Memory, Sharing, Strategy, by_part, memory_of
from hocket.plan.rows import Content, made_up
from hocket.plan.scale import Attending, Cluster, exchange_seconds, scale
from hocket.plan.trace import trace
from hocket.train.parallel import ComputeDtype, FsdpSpec
from hocket.train.parallel import Sharding as Sharded
from hocket.train.recipe import Adapter, Recipe
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


@pytest.fixture(scope="module")
def whole(planner: Planner) -> StagePlan:
    return planner.stage("joint", Setting(samples=8))


def peak(found: StagePlan) -> float:
    return found.memory(Strategy()).peak


def test_samples_and_rows_are_those_of_the_mixture(whole: StagePlan) -> None:
    seen = whole.histogram
    assert seen is not None
    assert whole.rows == 4
    assert (seen.samples, seen.epoch, seen.unusable) == (8, 24, 0)
    assert seen.figures["tokens"].most <= 128
    assert seen.mean_tokens <= 128
    assert 24 * seen.figures["tokens"].mean == pytest.approx(seen.rows_per_epoch * seen.mean_tokens)
    assert 0 < whole.mean_share <= 1


def test_epochs_become_steps(folder: Path) -> None:
    built = build(model_spec(), ["some words"], weights=False)
    stage = replace(RECIPE.stages["joint"], steps=0, epochs=2.0, rows=1)
    found = Planner(built, replace(RECIPE, stages={"joint": stage}), data_spec(folder)).stage(
        "joint", Setting(samples=8)
    )
    assert found.histogram is not None
    assert found.steps == math.ceil(2 * found.histogram.rows_per_epoch)


def test_what_is_frozen_has_no_gradients(planner: Planner, whole: StagePlan) -> None:
    bridges, lora = (
        planner.stage("joint", Setting(samples=8), one) for one in ("connector", "lora")
    )
    assert whole.sizes.training == pytest.approx(whole.sizes.parameters, rel=0.02)
    assert 0 < bridges.sizes.training < 0.2 * whole.sizes.training
    assert lora.sizes.parameters > whole.sizes.parameters
    assert peak(bridges) < peak(lora) < peak(whole)
    assert bridges.traced.flops < whole.traced.flops
    assert 0 < bridges.traced.tower_flops < bridges.traced.flops


def test_qlora_packs_frozen_layers_of_the_language_model(planner: Planner) -> None:
    lora, packed = (planner.stage("joint", Setting(samples=8), one) for one in ("lora", "qlora"))
    assert packed.sizes.trainable == lora.sizes.trainable
    assert packed.sizes.weights < lora.sizes.weights
    assert packed.sizes.computed == lora.sizes.computed


def test_a_method_that_decomposes_weights_is_planned_without_them(planner: Planner) -> None:
    words = Adapter(kind="pissa", options={"r": 2}, lr=1e-3)
    stage = replace(RECIPE.stages["joint"], trainable={}, adapters={"words": words})
    plain = replace(stage, adapters={"words": replace(words, kind="lora")})
    found = [planner.prepared("joint", one, Setting()) for one in (stage, plain)]
    trains = [{key for key, one in m.named_parameters() if one.requires_grad} for m in found]
    assert trains[0] == trains[1] and trains[0]


def test_half_the_digits_take_half_the_weights(planner: Planner, whole: StagePlan) -> None:
    narrow, mixed = (
        planner.stage("joint", Setting(samples=8, dtype=one)) for one in ("bfloat16", "mixed")
    )
    assert narrow.sizes.weights * 2 == whole.sizes.weights
    assert narrow.traced.activations < 0.7 * whole.traced.activations
    assert mixed.in_shares == narrow.traced
    assert (mixed.sizes.weights, mixed.sizes.computed) == (
        whole.sizes.weights,
        narrow.sizes.weights,
    )
    # Autocast: weights rest as they are; copies of them, and float32 sums, are what a step makes.
    rest, plain = (one.memory(Strategy()) for one in (mixed, whole))
    assert (rest.weights, rest.optimizer) == (plain.weights, plain.optimizer)
    copies = mixed.sizes.computed
    assert narrow.traced.activations + 0.8 * copies < mixed.traced.activations
    assert mixed.traced.activations < whole.traced.activations + copies


def test_checkpointing_trades_memory_for_work(planner: Planner, whole: StagePlan) -> None:
    assert able(planner.model) == ("language", "vision", "audio")
    again = planner.stage("joint", Setting(samples=8, recomputed=("language",)))
    assert again.traced.activations < whole.traced.activations
    assert again.traced.without_gradients < whole.traced.without_gradients
    assert again.traced.flops > whole.traced.flops


def test_devices_share_what_the_strategy_says(planner: Planner) -> None:
    found = planner.stage("joint", Setting(samples=8, devices=4))

    def memory(sharing: Sharing, **more: object) -> Memory:
        return found.memory(Strategy(sharing=sharing, devices=4, **more))  # type: ignore[arg-type] # fields of Strategy

    ddp, zero, fsdp = (memory(one) for one in (Sharing.DDP, Sharing.ZERO2, Sharing.FSDP))
    sizes = found.sizes
    assert ddp.gradients == 2 * sizes.trainable
    assert zero.optimizer == fsdp.optimizer == pytest.approx(sizes.trainable * 2 / 4)
    assert zero.weights == pytest.approx(sizes.computed + sizes.weights / 4)
    assert fsdp.weights < zero.weights
    assert ddp.peak > fsdp.peak
    resting = memory(Sharing.FSDP, offload=True)
    assert resting.optimizer == 0
    assert resting.host == pytest.approx((sizes.weights + 3 * sizes.trainable) / 4)
    assert resting.peak < fsdp.peak
    shared = memory(Sharing.FSDP, sequence=2)
    assert shared.activations == fsdp.activations / 2
    machines = memory(Sharing.HSDP, per_machine=2)
    assert machines.optimizer == sizes.trainable
    assert set(by_part(ddp)) == {
        "weights", "gradients", "optimizer", "activations", "logits", "buffers", "peak", "host",
    }  # fmt: skip


def test_what_devices_cannot_share_is_refused(planner: Planner) -> None:
    with pytest.raises(ConfigError, match=r"rows to a multiple of 3"):
        planner.stage("joint", Setting(samples=8, devices=3))
    for wrong, words in (
        ({"sequence": 3}, "groups of 3"),
        ({"sharing": Sharing.HSDP}, "whole machines of 8"),
        ({"sharing": Sharing.DDP, "offload": True}, "only shares rest"),
    ):
        with pytest.raises(ConfigError, match=words):
            Strategy(devices=4, **wrong)  # type: ignore[arg-type] # fields of Strategy


def test_the_first_way_is_the_recipes_own() -> None:
    ways = possible(RECIPE, Strategy(devices=16), mixed=False)
    assert [one.name for one in ways] == ["ddp", "zero2", "fsdp", "hsdp", "fsdp + offload"]
    assert possible(RECIPE, Strategy(), mixed=False) == [Strategy()]
    sharded = replace(RECIPE, sharding=Sharded.FSDP, fsdp=FsdpSpec(reshard=False))
    assert possible(sharded, Strategy(devices=4), mixed=True)[0].name == "zero2"
    assert possible(RECIPE, Strategy(devices=4), mixed=True)[0].name == "fsdp"
    narrow = replace(RECIPE, compute_dtype=ComputeDtype.BFLOAT16)
    assert possible(narrow, Strategy(devices=4), mixed=True)[0].name == "ddp"


def test_without_data_rows_are_made_up() -> None:
    built = build(model_spec(), ["words"], weights=False)
    found = Planner(built, RECIPE, None).stage("joint", Setting())
    assert found.histogram is None
    assert found.traced.tokens == 4 * 128


def test_the_largest_fits_and_a_larger_does_not(planner: Planner, whole: StagePlan) -> None:
    limits = Limits(
        model=planner.prepared("joint", RECIPE.stages["joint"], Setting()),
        processor=planner.processor,
        sizes=whole.sizes,
        strategy=Strategy(),
        usable=2 * peak(whole),
    )
    what, most = next(limits.largest(tokens_per_row=128))
    assert what == "rows of 128 tokens in a micro-batch"

    def needs(rows: int) -> float:
        batch = made_up(planner.processor, Content(tokens=128, targets=0.5), rows=rows)
        return memory_of(whole.sizes, trace(limits.model, batch), Strategy()).peak

    assert needs(most) <= limits.usable < needs(math.ceil(1.1 * most) + 1)
    tight = replace(limits, usable=whole.sizes.weights)
    assert set(dict(tight.largest(tokens_per_row=128)).values()) == {0}


def test_exchange_follows_the_formulas(whole: StagePlan) -> None:
    cluster = Cluster(gpu=gpu_named("h100"), network_gb_s=50.0)
    heads = Attending(layers=2, query_width=32, key_width=16)
    sizes = whole.sizes

    def seconds(sharing: Sharing, devices: int, sequence: int = 1) -> float:
        way = Strategy(sharing=sharing, devices=devices, sequence=sequence)
        return exchange_seconds(whole, way, cluster, heads)

    assert exchange_seconds(whole, Strategy(), cluster, heads) == 0
    assert seconds(Sharing.DDP, 8) == pytest.approx(2 * sizes.trainable * 7 / 8 / 450e9)
    assert seconds(Sharing.DDP, 16) == pytest.approx(2 * sizes.trainable * 15 / 16 / 50e9)
    both = 2 * sizes.computed + sizes.trainable
    assert seconds(Sharing.FSDP, 8) == pytest.approx(both * 7 / 8 / 450e9)
    assert seconds(Sharing.HSDP, 64) < seconds(Sharing.FSDP, 64)
    tokens = whole.traced.tokens
    added = seconds(Sharing.FSDP, 8, 2) - seconds(Sharing.FSDP, 8)
    assert added == pytest.approx(2 * 2 * tokens / 2 * (64 + 32) * 4 / 2 / 450e9)


def test_twice_the_devices_train_twice_the_tokens(whole: StagePlan) -> None:
    cluster = Cluster(gpu=gpu_named("h100"), network_gb_s=1e9)
    heads = Attending(layers=2, query_width=32, key_width=16)
    few, many = (
        scale(whole, Strategy(sharing=Sharing.DDP, devices=one), cluster, heads) for one in (8, 16)
    )
    assert few.compute_seconds == many.compute_seconds
    assert many.tokens_per_second == pytest.approx(2 * few.tokens_per_second)
    assert many.checkpoint_bytes == whole.sizes.weights + 2 * whole.sizes.trainable
    assert 0 < many.tower_share < 1
    assert many.samples_per_second > 0


def test_two_measured_steps_correct_the_plan(folder: Path, planner: Planner) -> None:
    def measuring(recipe: Recipe, name: str) -> Measured:
        run = Run(recipe=recipe, data=data_spec(folder), out=folder / "never")
        return measure(run, name, partial(build_model, folder))

    question = Question(setting=Setting(samples=8), strategies=[Strategy()], measured=True)
    built = build(model_spec(), ["some words to build a tokenizer from"], weights=False)
    found = find("joint", question, built, RECIPE, data_spec(folder), measuring)
    assert found.measured is not None
    assert found.measured.device == "cpu"
    assert found.measured.tokens > 0
    assert not (folder / "never").exists()
    first = found.plans[0][1]
    corrected = first.memory(Strategy(), scale=found.factor).peak
    assert corrected == pytest.approx(found.measured.peak, rel=0.1)
    assert found.hours == pytest.approx(first.steps * found.measured.seconds / 3600)
    assert found.tokens_per_second is not None


def test_steps_that_fail_say_why(folder: Path, tmp_path: Path) -> None:
    wrong = replace(RECIPE, gradient_checkpointing=["nose"])
    run = Run(recipe=wrong, data=data_spec(folder), out=tmp_path / "out")
    with pytest.raises(TrainingError, match="'nose' is no part"):
        measure(run, "joint", partial(build_model, folder))


def test_an_unknown_gpu_is_named() -> None:
    assert gpu_named("h100").usable < 80e9
    with pytest.raises(UnknownNameError, match="h1000"):
        gpu_named("h1000")
