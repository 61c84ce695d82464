"""What a step's loss is a mean over, whichever way the step is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.toy import mixed, toy
from tests.train.toy_run import data_spec, losses, recipe, train_toy, write_rows

from hocket._errors import ConfigError, DataError
from hocket.data.decoder import SampleNote, StepBatches
from hocket.data.pack import PackerState
from hocket.tokens.batch import IGNORED, pack_batch
from hocket.train.log import read_log
from hocket.train.objective import Objective, loss_options
from hocket.train.recipe import LossSpec, Stage
from hocket.train.runtime import Runtime

KINDS = ["vision", "audio", "text", "both", "both"]
NOTES = [
    SampleNote("media" if kind != "text" else "words", f"medium/{kind}", weight)
    for kind, weight in zip(KINDS, [1.0, 0.5, 2.0, 1.0, 1.0], strict=True)
]


def step(*cuts: Sequence[int]) -> StepBatches:
    """Return the toy samples cut into micro-batches."""
    processor = toy().processor
    examples = [processor.encode(one) for one in mixed()]
    micro = [pack_batch([[examples[at] for at in cut]], pad_id=0) for cut in cuts]
    notes = [[NOTES[at] for at in cut] for cut in cuts]
    return StepBatches(micro, PackerState(), [], 1, 0, [], {}, notes)


def objective(spec: LossSpec) -> Objective:
    sources = {"media": 3.0, "words": 1.0}
    return Objective(Stage(loss=spec, steps=1), sources, toy().processor.tokenizer)


def loss_of(spec: LossSpec, *cuts: Sequence[int]) -> tuple[float, dict[str, float]]:
    """Return the loss of a step and its means, with the toy model."""
    chosen, batches, runtime, model = objective(spec), step(*cuts), Runtime(), toy().model
    weights, whole = chosen.weigh(batches, runtime)
    total, samples = 0.0, []
    for batch, weight in zip(batches.micro, weights, strict=True):
        with torch.no_grad():
            out = model(
                **batch, loss_weights=weight, num_items_in_batch=whole.float(), loss_only=True
            )
        total += float(out.loss)
        samples.append(out.sample_losses)
    return total, chosen.means(batches, samples, runtime)


CUTS = [([0, 1, 2, 3, 4],), ([0, 3], [4, 1, 2]), ([2], [0], [1], [4, 3])]


def plain() -> dict[str, tuple[float, int]]:
    """Return each sample's summed loss and its supervised tokens."""
    found = {}
    for at in range(len(KINDS)):
        batch = step([at]).micro[0]
        with torch.no_grad():
            count = int((batch["labels"][:, 1:] != IGNORED).sum())
            found[at] = (float(toy().model(**batch, loss_only=True).loss) * count, count)
    return found


@pytest.mark.parametrize("cuts", CUTS)
def test_every_token_counts_as_its_row_and_data_set_say(cuts: Sequence[Sequence[int]]) -> None:
    each = plain()
    weights = {
        at: note.weight * (3.0 if note.source == "media" else 1.0) for at, note in enumerate(NOTES)
    }
    expected = sum(weights[at] * each[at][0] for at in each) / sum(
        weights[at] * each[at][1] for at in each
    )
    total, means = loss_of(LossSpec(), *cuts)
    assert total == pytest.approx(expected, rel=1e-5)
    assert means["source/words"] == pytest.approx(each[2][0] / each[2][1], rel=1e-5)
    both = (each[3][0] + each[4][0]) / (each[3][1] + each[4][1])
    assert means["medium/both"] == pytest.approx(both, rel=1e-5)
    assert set(means) == {"source/media", "source/words", *(f"medium/{kind}" for kind in KINDS)}


@pytest.mark.parametrize("cuts", CUTS)
def test_parts_are_a_weighted_sum_of_their_own_means(cuts: Sequence[Sequence[int]]) -> None:
    each = plain()
    spec = LossSpec(parts={"text": 0.5, "vision": 0.3, "audio": 0.2, "both": 0.0})
    expected = sum(
        share * each[at][0] / each[at][1] for share, at in ((0.3, 0), (0.2, 1), (0.5, 2))
    )
    assert loss_of(spec, *cuts)[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (LossSpec(parts={"video": 1.0}), "loss.parts.video is 1.0, expected one of text"),
        (LossSpec(parts={"text": -1.0}), "loss.parts.text is -1.0"),
        (LossSpec(state_weight=0.0), "loss.state_weight is 0.0"),
        (LossSpec(state_weight=2.0), "writes state tokens as several"),
    ],
)
def test_a_wrong_loss_says_what_is_wrong(spec: LossSpec, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        objective(spec)


def test_soft_time_tokens_need_time_tokens() -> None:
    with pytest.raises(ConfigError, match="the model has no time tokens"):
        loss_options(LossSpec(moment_std=1.0), toy().processor.tokenizer)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


def test_a_run_logs_the_loss_of_each_source_and_medium(folder: Path, tmp_path: Path) -> None:
    train_toy(folder, tmp_path, recipe(steps=(2, 3)))
    lines = read_log(tmp_path / "log.jsonl")
    seen = {name for line in lines for name in line["parts"]}
    assert {"source/media", "source/text", "medium/text", "medium/vision"} <= seen
    assert all(value > 0 for line in lines for value in line["parts"].values())


def test_a_stage_may_count_epochs(folder: Path, tmp_path: Path) -> None:
    plan = recipe(steps=(1, 1))
    stages = {name: replace(stage, steps=0, epochs=1.5) for name, stage in plan.stages.items()}
    train_toy(folder, tmp_path, replace(plan, stages=stages))
    steps = {stage: step for stage, step, _ in losses(tmp_path)}
    cursor = {
        line["stage"]: line for line in read_log(tmp_path / "log.jsonl")
    }  # the last line of each stage
    assert set(cursor) == {"align", "joint"}
    assert all(2 <= count <= 8 for count in steps.values())
    with pytest.raises(ConfigError, match="neither steps nor epochs"):
        bad = {name: replace(stage, steps=0) for name, stage in plan.stages.items()}
        train_toy(folder, tmp_path / "none", replace(plan, stages=bad))


def test_a_row_with_a_wrong_weight_is_named(folder: Path, tmp_path: Path) -> None:
    rows = (folder / "text.json").read_text().replace('"task": "text"', '"weight": "much"')
    (tmp_path / "text.json").write_text(rows)
    data = data_spec(folder)
    heavy = replace(data.datasets["text"], path=str(tmp_path / "text.json"))
    plan = recipe(steps=(1, 1))
    stages = {name: replace(stage, data={"text": 1.0}) for name, stage in plan.stages.items()}
    with pytest.raises(DataError, match="its weight is 'much', expected a number"):
        train_toy(
            folder,
            tmp_path / "out",
            replace(plan, stages=stages),
            data=replace(data, datasets={"text": heavy}),
        )
