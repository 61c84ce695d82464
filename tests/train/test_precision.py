"""The number format of a run: weights rest in float32, and a resumed run computes as before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.train.test_distributed import run_together
from tests.train.test_resume import StopAt, StoppedError, assert_same_run
from tests.train.toy_pairs import one_stage, pairs_of, write_pairs
from tests.train.toy_run import losses, recipe, train_toy, write_rows

from hocket._errors import CheckpointError, ConfigError
from hocket.train.log import read_log
from hocket.train.parallel import ComputeDtype, FsdpSpec, Sharding
from hocket.train.precision import computed_in, with_formats
from hocket.train.recipe import Recipe
from hocket.train.runtime import Runtime


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


def narrow(*, save_every: int = 1) -> Recipe:
    """Return the two toy stages, three steps each, in bfloat16."""
    plain = recipe(steps=(3, 3), save_every=save_every)
    return replace(plain, compute_dtype=ComputeDtype.BFLOAT16)


@pytest.fixture(scope="module")
def left_alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone")
    train_toy(folder, out, narrow(save_every=0))
    return out


def test_weights_rest_in_float32_and_losses_are_those_of_bfloat16(
    folder: Path, left_alone: Path, tmp_path: Path
) -> None:
    weights = load_file(left_alone / "model" / "model.safetensors")
    assert {one.dtype for one in weights.values()} == {torch.float32}
    # Rounded to bfloat16 the weights would have hardly moved by single steps of 1e-3.
    assert any(not torch.equal(one, one.bfloat16().float()) for one in weights.values())
    train_toy(folder, tmp_path, recipe(steps=(3, 3), save_every=0))
    ours, theirs = ([loss for _, _, loss in losses(out)] for out in (left_alone, tmp_path))
    assert ours != theirs
    assert ours == pytest.approx(theirs, rel=2e-2)


def test_a_resumed_run_has_the_same_bits(folder: Path, left_alone: Path, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        train_toy(folder, tmp_path, narrow(), hooks=[StopAt("joint", 2)])
    train_toy(folder, tmp_path, narrow())
    assert_same_run(left_alone, tmp_path)
    document = json.loads((tmp_path / "model" / "provenance.json").read_text("utf-8"))
    assert document["compute_dtype"] == "bfloat16"


def test_a_run_does_not_go_on_in_another_format(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        train_toy(folder, tmp_path, narrow(), hooks=[StopAt("joint", 2)])
    with pytest.raises(CheckpointError, match=r"was computed in bfloat16, and .* says float32"):
        train_toy(folder, tmp_path, recipe(steps=(3, 3)))


def test_recomputed_activations_are_the_same(
    folder: Path, left_alone: Path, tmp_path: Path
) -> None:
    # Autocast keeps copies of weights; one made without gradients would lose those of its weight.
    parts = ["language", "vision", "audio"]
    train_toy(folder, tmp_path, replace(narrow(save_every=0), gradient_checkpointing=parts))
    assert_same_run(left_alone, tmp_path)


def test_a_reference_computes_as_its_policy_does(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    chosen = replace(one_stage(steps=2, save_every=0), compute_dtype=ComputeDtype.BFLOAT16)
    train_toy(tmp_path, tmp_path / "out", chosen, data=pairs_of(tmp_path))
    first, second = read_log(tmp_path / "out" / "log.jsonl")
    assert first["rewards"]["margin"] == 0.0
    assert second["rewards"]["margin"] != 0.0


@pytest.mark.slow
@pytest.mark.parametrize("sharding", [Sharding.DDP, Sharding.FSDP])
def test_two_processes_compute_as_one_does(
    folder: Path, left_alone: Path, tmp_path: Path, sharding: Sharding
) -> None:
    chosen = with_formats(replace(narrow(save_every=2), sharding=sharding))
    run_together(folder, tmp_path, chosen, layer=-1, double=False)
    weights = load_file(tmp_path / "model" / "model.safetensors")
    assert {one.dtype for one in weights.values()} == {torch.float32}
    ours, theirs = ([loss for _, _, loss in losses(out)] for out in (tmp_path, left_alone))
    assert ours != theirs and ours == pytest.approx(theirs, rel=2e-2)


@pytest.mark.parametrize(
    ("chosen", "asked", "told"),
    [
        (ComputeDtype.FLOAT32, "bf16", True),
        (ComputeDtype.FLOAT32, "no", False),
        (ComputeDtype.BFLOAT16, "bf16", False),
        (ComputeDtype.BFLOAT16, "fp16", True),
    ],
)
def test_the_environment_has_no_say(
    chosen: ComputeDtype,
    asked: str,
    told: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", asked)
    runtime = Runtime(compute_dtype=chosen)
    with runtime.computing():
        found = torch.ones(2, 2) @ torch.ones(2, 2)
    assert str(found.dtype) == f"torch.{chosen}"
    # What accelerate prepares it does not wrap.
    assert runtime.prepare(torch.nn.Linear(2, 2))(torch.ones(1, 2)).dtype is torch.float32  # type: ignore[arg-type] # any module will do
    assert (f"ACCELERATE_MIXED_PRECISION={asked} is not used" in caplog.text) is told


def test_what_contradicts_is_refused() -> None:
    plain = Recipe(stages={})
    half = replace(plain, compute_dtype=ComputeDtype.FLOAT16)
    with pytest.raises(ConfigError, match=r"compute_dtype is float16: losses are not scaled"):
        with_formats(half)
    for inner in (FsdpSpec(compute_dtype="float16"), FsdpSpec(reduce_dtype="float16")):
        with pytest.raises(ConfigError, match=r"averages in float16: losses are not scaled"):
            with_formats(replace(plain, sharding=Sharding.FSDP, fsdp=inner))
    lost = replace(plain, fsdp=FsdpSpec(compute_dtype="bfloat16"))
    with pytest.raises(ConfigError, match=r"with train\.sharding=ddp train\.compute_dtype holds"):
        with_formats(lost)
    torn = replace(
        plain,
        sharding=Sharding.FSDP,
        compute_dtype=ComputeDtype.BFLOAT16,
        fsdp=FsdpSpec(compute_dtype="float32"),
    )
    with pytest.raises(ConfigError, match=r"is bfloat16 and train\.fsdp\.compute_dtype float32"):
        with_formats(torn)


def test_fsdp_takes_the_format_of_the_run() -> None:
    plain = Recipe(stages={}, sharding=Sharding.FSDP)
    assert with_formats(plain) == plain and computed_in(plain) == "float32"
    found = with_formats(replace(plain, compute_dtype=ComputeDtype.BFLOAT16))
    assert found.fsdp == FsdpSpec(compute_dtype="bfloat16", reduce_dtype="float32")
    assert with_formats(found) == found and computed_in(found) == "bfloat16"
    own = replace(plain, fsdp=FsdpSpec(compute_dtype="bfloat16"))
    assert with_formats(own) == own and computed_in(own) == "bfloat16"
