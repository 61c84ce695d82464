"""A run that goes on with other settings says which."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hocket.train.changed import told_changes


def settings(**train: object) -> str:
    stage = {"lr": 1e-4, "adapters": {}, "steps": 5}
    return yaml.safe_dump(
        {
            "name": "x",
            "out": "runs/x",
            "data": {"datasets": {"rows": {"path": "a.json"}}},
            "train": {"stages": {"joint": stage}, "seed": 0, "save_every": 2} | train,
        }
    )


@pytest.mark.parametrize("place", ["model", "checkpoints/joint-step-000002"])
def test_what_differs_is_named(tmp_path: Path, place: str) -> None:
    assert told_changes(tmp_path, settings()) == ""
    folder = tmp_path / place
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(settings())
    assert told_changes(tmp_path, settings(save_every=7, dashboard=80, only="joint")) == ""
    adapters = {"words": {"kind": "lora"}}
    stage = {"joint": {"lr": 1e-4, "adapters": adapters, "steps": 5}}
    told = told_changes(tmp_path, settings(seed=3, stages=stage))
    assert "train.seed (was 0)" in told
    assert "train.stages.joint.adapters.words.kind (was not set)" in told
    assert "a.json" not in told and str(folder) in told
    many = told_changes(tmp_path, settings(**{f"key{number}": 1 for number in range(6)}))
    assert "and 2 more" in many


def test_a_file_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "recipe.yaml").write_text("a: [")
    assert told_changes(tmp_path, settings()) == ""
