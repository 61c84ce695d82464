"""The questions of a run's page: every kind of medium has its turn, whatever the order of rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.train.toy_run import build_model, data_spec, write_rows

from hocket.cli._previews import choose_previews
from hocket.data.spec import DatasetSpec
from hocket.eval.question import modality_of
from hocket.train.observe.preview import ask, on_one_device


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


def test_every_kind_of_medium_has_its_turn(folder: Path) -> None:
    data = data_spec(folder)
    chosen = choose_previews(data, count=5)
    assert chosen is not None
    kinds = [modality_of(one.conversation) for one in chosen.questions]
    assert sorted(kinds) == ["audio", "image", "image+audio", "text", "video"]
    assert all(one.target for one in chosen.questions)
    again = choose_previews(data, count=5)
    assert again is not None and again.questions == chosen.questions
    assert choose_previews(data, count=0) is None


def test_held_out_rows_come_first(folder: Path) -> None:
    held = replace(
        data_spec(folder), heldout={"words": DatasetSpec(path=str(folder / "text.json"))}
    )
    chosen = choose_previews(held, count=3)
    assert chosen is not None
    assert [one.id.partition("-")[0] for one in chosen.questions] == ["text"] * 3


def test_data_that_cannot_be_read_are_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    gone = replace(data_spec(folder), heldout={"gone": DatasetSpec(path=str(folder / "no.json"))})
    assert choose_previews(gone, count=3) is None
    assert any("no previews of gone" in one for one in caplog.messages)


def test_asking_leaves_modes_and_random_numbers_alone(folder: Path) -> None:
    chosen = choose_previews(data_spec(folder), count=3)
    assert chosen is not None
    model, processor = build_model(folder)
    model.train()
    model.model.vision_tower.eval()
    modes = [module.training for module in model.modules()]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    answers = ask(chosen, model, processor, compiled=False)
    assert answers is not None and len(answers) == 3
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in model.modules()] == modes


def test_a_tower_that_is_elsewhere_is_copied_and_stays(folder: Path) -> None:
    model, _ = build_model(folder)
    inner, tower = model.model, model.model.vision_tower
    model.lm_head.to("meta")
    inner.language_model.to("meta")
    with on_one_device(model):
        assert {value.device.type for value in model.parameters()} == {"meta"}
        assert inner.vision_tower is not tower
    assert inner.vision_tower is tower
    assert {value.device.type for value in tower.parameters()} == {"cpu"}
