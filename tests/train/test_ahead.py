"""What is wrong in a later stage is told before the first one trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.train.toy_run import data_spec, recipe, train_toy, write_rows

from hocket._errors import ConfigError, DataError, TrainingError
from hocket.data.spec import DatasetSpec
from hocket.train.recipe import Adapter, Group, LossSpec, PreferenceSpec


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


def adapter(**change: Any) -> dict[str, Any]:
    return {"adapters": {"words": Adapter(**change)}}


EVERYTHING = Group(match="all", lr=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"trainable": {"eyes": Group(match="conector", lr=1e-3)}},
            "'eyes' matches no parameter with 'conector'. Did you mean 'connector'?",
        ),
        (
            {"trainable": {"all": EVERYTHING, "eyes": Group(match="connector", lr=1e-3)}},
            "'eyes' matches no parameter that is left with 'connector': the first match counts",
        ),
        ({"trainable": {}, "train_modules": "lllm:1e-4"}, "'lllm' matches no parameter"),
        ({"trainable": {}}, "nothing trains"),
        (adapter(kind="lorra"), "no adapter kind is called 'lorra'"),
        (adapter(part="langage"), "no part is called 'langage'"),
        (adapter(part="video_connector"), "the model has no video_connector"),
        (adapter(targets=["p_proj"]), "the target 'p_proj' matches no layer"),
        (adapter(options={"rank": 4}), "lora has no option 'rank'"),
        (adapter(kind="mora", options={"rank": 4}), "'rank'"),
        (adapter(options={"r": -4}), "`r` should be a positive integer"),
        (
            {"adapters": {"one": Adapter(), "two": Adapter(kind="mora")}},
            "already has the adapter 'one' (lora)",
        ),
        ({"rows": 3, "accumulate": 2}, "3 rows per step cannot be shared"),
        ({"preference": PreferenceSpec()}, "first row of 'media' has no rejected answer"),
        ({"loss": LossSpec(moment_std=1.0)}, "the model has no time tokens"),
        ({"loss": LossSpec(parts={"smell": 1.0})}, "loss.parts.smell"),
        ({"preference": PreferenceSpec(beta=-1)}, "preference.beta is -1"),
        ({"data": {"txt": 1.0}}, "no data set is called 'txt'"),
    ],
)
def test_a_name_that_is_wrong_in_the_last_stage(
    folder: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    plain = recipe(steps=(1, 1))
    wrong = replace(
        plain, stages=plain.stages | {"joint": replace(plain.stages["joint"], **change)}
    )
    with pytest.raises((ConfigError, TrainingError)) as told:
        train_toy(folder, tmp_path, wrong)
    assert str(told.value).startswith("stage 'joint': ") and message in str(told.value)
    assert not (tmp_path / "log.jsonl").exists()


def test_rates_of_decay_that_no_optimizer_takes(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train.betas is \[0.9, 1.5\]"):
        train_toy(folder, tmp_path, replace(recipe(steps=(1, 1)), betas=(0.9, 1.5)))


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (Adapter(options={"r": 2}), {"words": Adapter(options={"r": 4})}, "r is 4, but .* with 2"),
        (Adapter(kind="lily"), {}, "cannot be merged, as the next stage needs"),
    ],
)
def test_adapters_that_do_not_go_on(
    folder: Path, tmp_path: Path, first: Adapter, then: dict[str, Adapter], message: str
) -> None:
    plain = recipe(steps=(1, 1))
    align, joint = plain.stages.values()
    stages = {
        "align": replace(align, adapters={"words": first}),
        "joint": replace(joint, adapters=then),
    }
    with pytest.raises(ConfigError, match=message):
        train_toy(folder, tmp_path, replace(plain, stages=stages))
    assert not (tmp_path / "log.jsonl").exists()


def test_data_of_the_last_stage_that_are_not_there(folder: Path, tmp_path: Path) -> None:
    plain, data = recipe(steps=(1, 1)), data_spec(folder)
    lost = replace(data, datasets=data.datasets | {"lost": DatasetSpec(path="lost.json")})
    last = replace(plain.stages["joint"], data={"text": 1.0, "lost": 1.0})
    chosen = replace(plain, stages=plain.stages | {"joint": last})
    with pytest.raises(DataError, match=r"stage .joint.: no data file lost\.json"):
        train_toy(folder, tmp_path, chosen, data=lost)
    assert not (tmp_path / "log.jsonl").exists()
    # A stage that does not run needs nothing.
    train_toy(folder, tmp_path, replace(chosen, only="align"), data=lost)
