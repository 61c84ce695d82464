"""A finished run that is asked for more goes on; one that is not is left alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.train.toy_run import build_model, data_spec, losses, recipe, write_rows

from hocket._errors import ConfigError
from hocket.data.spec import DataSpec
from hocket.train.recipe import Recipe
from hocket.train.run import Run, train


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_rows(tmp_path / "data")
    return tmp_path / "data"


def run(folder: Path, out: Path, chosen: Recipe) -> list[str]:
    told: list[str] = []
    data = DataSpec(datasets=data_spec(folder).datasets)
    train(Run(recipe=chosen, data=data, out=out, on_note=told.append), *build_model(folder))
    return told


def test_it_goes_on_to_the_steps_that_are_asked_for(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(folder, out, recipe(steps=(1, 2)))
    before = (out / "model" / "model.safetensors").read_bytes()
    assert run(folder, out, recipe(steps=(1, 2))) == []
    assert (out / "model" / "model.safetensors").read_bytes() == before
    (said,) = run(folder, out, recipe(steps=(1, 4)))
    assert "was finished with 2 steps of stage 'joint', and 4 are asked for" in said
    assert [step for stage, step, _ in losses(out) if stage == "joint"] == [1, 2, 3, 4]
    assert (out / "model" / "model.safetensors").read_bytes() != before
    assert json.loads((out / "model" / "provenance.json").read_text())["step"] == 4


def test_epochs_count_too(folder: Path, tmp_path: Path) -> None:
    whole = recipe(steps=(1, 0))
    one, two = (
        replace(whole, stages=whole.stages | {"joint": replace(whole.stages["joint"], epochs=many)})
        for many in (0.5, 1.0)
    )
    run(folder, tmp_path / "out", one)
    assert run(folder, tmp_path / "out", one) == []
    (said,) = run(folder, tmp_path / "out", two)
    assert "0.5 epochs of stage 'joint', and 1 are asked for" in said


def test_without_a_checkpoint_it_says_what_to_do(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "out", recipe(steps=(1, 1)))
    shutil.rmtree(tmp_path / "out" / "checkpoints")
    with pytest.raises(ConfigError, match=r"nothing to go on from.\n.*train.init_from="):
        run(folder, tmp_path / "out", recipe(steps=(1, 2)))
