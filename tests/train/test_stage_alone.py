"""A stage of a chain alone: from the stages before it in the run's folder, or from the start."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.train.toy_run import build_model, data_spec, losses, recipe, write_rows

from hocket._errors import CheckpointError, ConfigError, UnknownNameError
from hocket.data.spec import DataSpec
from hocket.train.loop import Hook, Report
from hocket.train.proof import prove_resume
from hocket.train.recipe import Adapter, Recipe, Stage
from hocket.train.run import Run, train
from hocket.train.state import TrainState


class StoppedError(Exception):
    """Ends a run as a crash would."""


class StopAt:
    """A hook that ends the run at a step, before that step is saved."""

    def __init__(self, stage: str, step: int) -> None:
        self._at = (stage, step)

    def __call__(self, state: TrainState, report: Report) -> None:
        if (state.stage, state.step) == self._at:
            raise StoppedError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


def chain(*, only: str = "", adapters: bool = False) -> Recipe:
    """Return the toy's two stages; the first may train an adapter, which the second merges."""
    plain = recipe(steps=(2, 3))
    if not adapters:
        return replace(plain, only=only)
    first: Stage = plain.stages["align"]
    words = Adapter(part="language", kind="lora", options={"r": 2}, lr=1e-2)
    stages = plain.stages | {"align": replace(first, adapters={"words": words})}
    return replace(plain, stages=stages, only=only)


def run(folder: Path, out: Path, chosen: Recipe, *hooks: Hook) -> list[str]:
    told: list[str] = []
    data = DataSpec(datasets=data_spec(folder).datasets, decode_deadline_seconds=0)
    asked = Run(recipe=chosen, data=data, out=out, on_note=told.append)
    train(asked, *build_model(folder), hooks)
    return told


def assert_same(ours: Path, theirs: Path) -> None:
    weights, others = (load_file(out / "model" / "model.safetensors") for out in (ours, theirs))
    assert weights.keys() == others.keys()
    assert [name for name in weights if not torch.equal(weights[name], others[name])] == []
    assert losses(ours) == losses(theirs)


@pytest.mark.parametrize("adapters", [False, True], ids=["plain", "adapters"])
def test_stages_one_by_one_are_the_chain(folder: Path, tmp_path: Path, adapters: bool) -> None:
    whole, single = tmp_path / "whole", tmp_path / "single"
    run(folder, whole, chain(adapters=adapters))
    run(folder, single, chain(only="align", adapters=adapters))
    assert {stage for stage, _, _ in losses(single)} == {"align"}
    assert json.loads((single / "model" / "provenance.json").read_text())["stage"] == "align"
    with pytest.raises(StoppedError):
        run(folder, single, chain(only="joint", adapters=adapters), StopAt("joint", 2))
    run(folder, single, chain(only="joint", adapters=adapters))
    assert_same(single, whole)


def test_it_says_where_it_starts(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        run(folder, tmp_path, chain(), StopAt("align", 2))
    told = run(folder, tmp_path, chain(only="joint"))
    place = tmp_path / "checkpoints" / "align-step-000001"
    assert f"stage 'joint' starts from {place}, step 1 of stage 'align'." in told
    assert run(folder, tmp_path, chain(only="joint")) == []


def test_it_starts_anew_where_nothing_was_trained(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "alone", chain(only="joint"))
    plain = recipe(steps=(2, 3))
    run(folder, tmp_path / "other", replace(plain, stages={"joint": plain.stages["joint"]}))
    assert_same(tmp_path / "alone", tmp_path / "other")


def test_the_chain_goes_on_behind_it(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path, chain(only="align"))
    (said,) = [note for note in run(folder, tmp_path, chain()) if "finished" in note]
    assert "was finished with stage 'align', and 'joint' is asked for" in said
    assert [stage for stage, _, _ in losses(tmp_path)] == ["align"] * 2 + ["joint"] * 3


def test_a_run_does_not_go_back(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        run(folder, tmp_path, chain(), StopAt("joint", 3))
    before = losses(tmp_path)
    with pytest.raises(CheckpointError, match="behind 'align', which alone is to run"):
        run(folder, tmp_path, chain(only="align"))
    run(folder, tmp_path, chain())
    with pytest.raises(ConfigError, match="finished with stage 'joint', behind 'align'"):
        run(folder, tmp_path, chain(only="align"))
    assert losses(tmp_path)[: len(before)] == before


def test_the_proof_breaks_the_stage_that_runs(folder: Path, tmp_path: Path) -> None:
    data = DataSpec(datasets=data_spec(folder).datasets, decode_deadline_seconds=0)
    asked = Run(recipe=chain(only="joint"), data=data, out=tmp_path)
    proof = prove_resume(asked, lambda: build_model(folder), steps=3)
    assert proof.exact
    assert proof.breaks == ["joint step 1: stopped and saved", "joint step 2: died"]


def test_an_unknown_stage(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UnknownNameError, match=r"no stage is called 'joynt'\. Did you mean 'joint'"
    ):
        run(folder, tmp_path, chain(only="joynt"))
