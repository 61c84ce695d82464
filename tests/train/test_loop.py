"""A step that cannot be taken leaves the weights alone and says where it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.toy import toy
from tests.train.toy_run import build_model, data_spec, losses, recipe, train_toy, write_rows
from torch import nn

from hocket._errors import MachineError, TrainingError
from hocket.data.decoder import SampleNote, StepBatches
from hocket.data.pack import PackerState
from hocket.train.loop import Hooks, Report, fit
from hocket.train.objective import Objective
from hocket.train.recipe import Group, Recipe, Stage
from hocket.train.run import Run, train
from hocket.train.runtime import Runtime
from hocket.train.state import TrainState


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


@pytest.mark.parametrize("poison", ["weight", "gradient"])
def test_a_loss_that_is_not_finite_stops_the_run(folder: Path, tmp_path: Path, poison: str) -> None:
    model, processor = build_model(folder)
    before: dict[str, torch.Tensor] = {}

    def spoil(state: TrainState, report: Report) -> None:
        if state.step != 2:
            return
        if poison == "weight":
            with torch.no_grad():
                model.model.language_model.norm.weight[3] = float("nan")
        else:
            weights = dict(model.named_parameters())
            weights["model.multi_modal_projector.linear_2.weight"].register_hook(
                lambda gradient: gradient * float("inf")
            )
        before.update({name: value.clone() for name, value in model.state_dict().items()})

    run = Run(recipe=recipe(), data=data_spec(folder), out=tmp_path)
    with pytest.raises(TrainingError) as caught:
        train(run, model, processor, [spoil])
    text = str(caught.value)
    assert "stage 'align' step 3" in text and "the weights were not touched" in text
    assert "media.json row " in text and "-" in text.partition("Samples: ")[2]
    assert ("the loss is nan" in text) is (poison == "weight")
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) or bool(torch.isnan(value).any())
    assert len(losses(tmp_path)) == 2
    assert (tmp_path / "checkpoints" / "align-step-000002").is_dir()
    assert not (tmp_path / "checkpoints" / "align-step-000003").exists()


def test_gradients_are_clipped_to_the_norm() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2))

        def forward(self, **inputs: object) -> object:
            class Output:
                loss = (self.weight * torch.tensor([30.0, 40.0])).sum()
                sample_losses = torch.tensor([5.0])

            return Output()

    model = Model()
    optimizer = torch.optim.SGD(
        [{"params": model.parameters(), "peak": 1.0, "schedule": None, "warmup_steps": None}],
        lr=1.0,
    )
    labels = torch.tensor([[-100, 1, 1]])
    step = StepBatches(
        micro=[
            {
                "input_ids": labels.clamp(min=0),
                "labels": labels,
                "sample_index": torch.zeros(1, 3, dtype=torch.long),
            }
        ],
        after=PackerState(7),
        samples=["row 0"],
        tokens=3,
        padding=1,
        dropped=[],
        notes=[[SampleNote("words", "medium/text", 1.0)]],
    )
    stage = Stage(data={}, trainable={}, steps=1, warmup_steps=0, max_norm=0.5)
    reports: list[Report] = []
    state = fit(
        model,
        iter([step]),
        optimizer,
        objective=Objective(stage, {"words": 1.0}, toy().processor.tokenizer),
        runtime=Runtime(),
        state=TrainState("only"),
        seed=0,
        hooks=Hooks([lambda _, report: reports.append(report)], lambda state, *_: state),
    )
    assert model.weight.tolist() == pytest.approx([-0.3, -0.4])
    assert reports[0].grad_norm == pytest.approx(50.0)
    assert reports[0].parts == {"source/words": 2.5, "medium/text": 2.5}
    assert reports[0].targets == 2 and reports[0].padding == 0.25
    assert (state.step, state.tokens_seen, state.packer.cursor) == (1, 3, 7)


def test_a_folder_that_cannot_be_made(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(MachineError, match="a file stands where a folder is needed"):
        train_toy(folder, tmp_path / "out", recipe())


def test_rows_that_cannot_be_shared_are_named(folder: Path, tmp_path: Path) -> None:
    group = Group(match="*", lr=1e-3)
    stage = Stage(data={"text": 1.0}, trainable={"all": group}, steps=1, rows=3, accumulate=2)
    with pytest.raises(TrainingError, match="3 rows per step cannot be shared by 1 processes x 2"):
        train_toy(folder, tmp_path, Recipe(stages={"only": stage}))
