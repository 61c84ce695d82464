"""`hocket train --verify-resume`: a recipe's own proof, and that it can fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.together import together
from tests.train.toy_run import build_model, data_spec, recipe, write_rows

import hocket.train.run
from hocket._errors import ConfigError
from hocket.train.proof import proof_folder, prove_resume
from hocket.train.run import Run
from hocket.train.state import read_optimizer


def run_of(folder: Path) -> Run:
    """Return the toy's run into a folder that must stay away."""
    plain = recipe(save_every=5)
    one = replace(plain, stages={"joint": plain.stages["joint"]})
    return Run(recipe=one, data=data_spec(folder), out=folder / "out")


def test_a_recipe_that_resumes(tmp_path: Path) -> None:
    write_rows(tmp_path)
    proof = prove_resume(run_of(tmp_path), lambda: build_model(tmp_path), steps=3)
    assert proof.exact and proof.steps == 3 and proof.tensors > 100
    assert proof.breaks == ["joint step 1: stopped and saved", "joint step 2: died"]
    assert not (tmp_path / "out").exists()


def opened(folder: Path) -> tuple[str, bool]:
    with proof_folder(run_of(folder)) as shared:
        return str(shared), shared.is_dir()


def test_processes_that_share_a_run_share_the_folder(tmp_path: Path) -> None:
    (one, first), (other, second) = together(2, opened, tmp_path)
    assert one == other and first and second
    assert Path(one).parent == tmp_path and not Path(one).exists()


def test_one_that_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rows(tmp_path)

    def forgetful(folder: Path, optimizer: torch.optim.Optimizer) -> None:
        read_optimizer(folder, optimizer)
        for moments in optimizer.state.values():
            moments["exp_avg"].zero_()

    monkeypatch.setattr(hocket.train.run, "read_optimizer", forgetful)
    proof = prove_resume(run_of(tmp_path), lambda: build_model(tmp_path), steps=3)
    assert not proof.exact
    assert any("grad_norm" in line or "loss" in line for line in proof.differences)
    assert any("exp_avg" in line for line in proof.differences)


def test_too_few_steps(tmp_path: Path) -> None:
    write_rows(tmp_path)
    with pytest.raises(ConfigError, match="2 steps prove nothing: take at least 3"):
        prove_resume(run_of(tmp_path), lambda: build_model(tmp_path), steps=2)
