"""Heads beside the language model: what their loss is, and that runs with them are exact."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.toy import mixed, toy
from tests.train.parallel.runs import Case, largest_difference, loss_difference, train_all
from tests.train.test_resume import StopAt, StoppedError, assert_same_run
from tests.train.toy_heads import (
    COLOUR,
    LOSS,
    PITCH,
    heads_of,
    three_told,
    with_heads,
    write_labelled,
)
from tests.train.toy_run import build_model, data_spec, recipe, train_toy
from torch import Tensor, nn

from hocket._errors import CheckpointError, ConfigError, DataError
from hocket.data.decoder import SampleNote, StepBatches
from hocket.data.pack import PackerState
from hocket.data.row_labels import labels_of
from hocket.model.heads import MediaHeads
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.batch import IGNORED, pack_batch, pad_batch
from hocket.tokens.span import Modality
from hocket.train.heads import Told, add_heads, check_heads, label_keys
from hocket.train.log import read_log
from hocket.train.objective import Learned, Objective
from hocket.train.optim import build_optimizer
from hocket.train.preference import check_preference
from hocket.train.recipe import (
    Group,
    HeadMedia,
    HeadSpec,
    LossSpec,
    PreferenceSpec,
    Schedule,
    Stage,
)
from hocket.train.resume import roll_back
from hocket.train.runtime import Runtime
from hocket.train.state import read_heads
from hocket.train.trainable import select_trainable

SPEC = LossSpec(
    text=0.5,
    heads={
        "vision": HeadSpec(label="seen", classes=3, weight=0.3),
        "audio": HeadSpec(label="heard", classes=2, weight=0.2),
    },
)
CLASSES = [
    {"seen": 2, "heard": 1},
    {"heard": [1]},
    {},
    {"seen": 1, "heard": None},
    {"seen": [0, IGNORED], "heard": 0},
]
WEIGHTS = [1.0, 0.5, 2.0, 1.0, 1.0]
SOURCES = {"media": 3.0, "words": 1.0}
SAMPLES = [replace(one, meta=classes) for one, classes in zip(mixed(), CLASSES, strict=True)]
NOTES = [
    SampleNote(
        "words" if at == 2 else "media",
        "medium/text",
        WEIGHTS[at],
        labels_of(one, label_keys(SPEC)),
    )
    for at, one in enumerate(SAMPLES)
]
CUTS = [([0, 1, 2, 3, 4],), ([0, 3], [4, 1, 2]), ([2], [0], [1], [4, 3])]


@pytest.fixture(scope="module")
def model() -> HocketForConditionalGeneration:
    """Return the toy model with heads that are not zeros."""
    found = copy.deepcopy(toy().model)
    found.heads = MediaHeads({"vision": 3, "audio": 2}, width=32)
    torch.manual_seed(0)
    for value in found.heads.parameters():
        nn.init.normal_(value)
    return found


def cut(*cuts: Sequence[int]) -> StepBatches:
    """Return the toy samples cut into micro-batches, those of a micro-batch packed."""
    processor = toy().processor
    examples = [processor.encode(one) for one in SAMPLES]
    micro = [pack_batch([[examples[at] for at in one]], pad_id=0) for one in cuts]
    return StepBatches(
        micro, PackerState(), [], 1, 0, [], {}, [[NOTES[at] for at in one] for one in cuts]
    )


def learned(
    model: HocketForConditionalGeneration, spec: LossSpec, step: StepBatches
) -> tuple[Objective, list[Learned]]:
    """Return what each micro-batch adds to the step."""
    stage = Stage(loss=spec, steps=1)
    objective = Objective(stage, SOURCES, toy().processor.tokenizer, model.config)
    runtime = Runtime()
    weights, whole = objective.weigh(step, runtime)
    heads = objective.heads.targets(step, SOURCES, runtime)
    return objective, [
        objective.learn(model, {**batch, **told}, weight, whole)
        for batch, weight, told in zip(step.micro, weights, heads, strict=True)
    ]


def told_of(objective: Objective, found: Sequence[Learned]) -> Told:
    losses, heads = [one.loss.detach() for one in found], [one.heads for one in found]
    return objective.heads.told(losses, heads, Runtime())


def alone(model: HocketForConditionalGeneration) -> dict[str, tuple[Tensor, Tensor]]:
    """Return by hand, each sample by itself: costs and weights of words and of both heads."""
    assert model.heads is not None
    found: dict[str, list[tuple[Tensor, float]]] = {"text": [], "vision": [], "audio": []}
    for sample, classes, note in zip(SAMPLES, CLASSES, NOTES, strict=True):
        example = toy().processor.encode(sample)
        batch = dict(pad_batch([example], pad_id=0, side="right"))
        labels, ids = batch.pop("labels")[0], batch["input_ids"][0]  # type: ignore[index] # a tensor
        x = model.model(**batch).last_hidden_state[0]
        weight = note.weight * SOURCES[note.source]
        for at in range(1, len(labels)):
            if labels[at] != IGNORED:
                cost = nn.functional.cross_entropy(model.lm_head(x[at - 1]), labels[at])
                found["text"].append((cost, weight))
        seen: dict[str, int] = {"vision": 0, "audio": 0}
        for span in example.outline.spans:
            head = "audio" if span.modality is Modality.AUDIO else "vision"
            token = ids[span.start]
            rows = [at for at in range(span.start, span.stop) if ids[at] == token]
            assert len(rows) == span.rows
            given = classes.get("heard" if head == "audio" else "seen")
            label = given[seen[head]] if isinstance(given, list) else given
            seen[head] += 1
            if label is not None and label != IGNORED:
                linear = model.heads[f"{head}_head"]
                logits = linear(x[rows].mean(dim=0))
                goal = torch.tensor(label)
                found[head].append((nn.functional.cross_entropy(logits, goal), weight))
    return {
        name: (torch.stack([cost for cost, _ in pairs]), torch.tensor([w for _, w in pairs]))
        for name, pairs in found.items()
    }


@pytest.mark.parametrize("cuts", CUTS)
def test_the_loss_is_the_weighted_sum_of_three_means(
    model: HocketForConditionalGeneration, cuts: Sequence[Sequence[int]]
) -> None:
    means = {name: (costs * w).sum() / w.sum() for name, (costs, w) in alone(model).items()}
    expected = 0.5 * means["text"] + 0.3 * means["vision"] + 0.2 * means["audio"]
    trained = [value for value in model.parameters() if value.requires_grad]
    wanted = torch.autograd.grad(expected, trained, allow_unused=True)

    objective, found = learned(model, SPEC, cut(*cuts))
    total = torch.stack([one.loss for one in found]).sum()
    gradients = torch.autograd.grad(total, trained, allow_unused=True)
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    for ours, theirs in zip(gradients, wanted, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    told = told_of(objective, found)
    assert told.losses == {
        f"head/{name}": pytest.approx(mean.item(), rel=1e-4) for name, mean in means.items()
    }
    assert set(told.accuracy) == {"vision", "audio"}


def test_labels_that_are_ignored_leave_the_words_alone(
    model: HocketForConditionalGeneration,
) -> None:
    step = cut([0, 1, 2, 3, 4])
    none = step.notes[0]
    unknown = [
        one._replace(
            labels=tuple(
                label._replace(classes=(IGNORED,) * len(label.classes)) for label in one.labels
            )
        )
        for one in none
    ]
    silent = replace(step, notes=[unknown])
    objective, (found,) = learned(model, SPEC, silent)
    costs, weights = alone(model)["text"]
    expected = 0.5 * (costs * weights).sum() / weights.sum()
    assert found.loss.item() == pytest.approx(expected.item())
    assert found.heads is None
    assert set(told_of(objective, [found]).losses) == {"head/text"}


def test_the_words_may_count_for_nothing(model: HocketForConditionalGeneration) -> None:
    spec = replace(SPEC, text=0.0, heads={"vision": SPEC.heads["vision"]})
    model = copy.deepcopy(model)
    heads = model.heads
    assert heads is not None
    del heads["audio_head"]
    objective, (found,) = learned(model, spec, cut([0, 1, 2, 3, 4]))
    costs, weights = alone_vision(model)
    expected = 0.3 * (costs * weights).sum() / weights.sum()
    assert found.loss.item() == pytest.approx(expected.item())
    assert set(told_of(objective, [found]).losses) == {"head/vision"}


def alone_vision(model: HocketForConditionalGeneration) -> tuple[Tensor, Tensor]:
    whole = copy.deepcopy(model)
    assert whole.heads is not None
    whole.heads["audio_head"] = nn.Linear(32, 2)
    return alone(whole)["vision"]


def test_bfloat16_changes_the_loss_a_little(model: HocketForConditionalGeneration) -> None:
    step = cut([0, 1, 2, 3, 4])
    _, (exact,) = learned(model, SPEC, step)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, (rough,) = learned(model, SPEC, step)
    assert rough.loss.dtype == torch.float32
    assert rough.loss.item() == pytest.approx(exact.loss.item(), rel=0.05)
    assert rough.heads is not None and rough.heads.dtype == torch.float32


def test_without_heads_the_model_is_told_nothing(model: HocketForConditionalGeneration) -> None:
    objective = Objective(Stage(steps=1), SOURCES, toy().processor.tokenizer)
    step = cut([0, 3], [4, 1, 2])
    assert objective.heads.targets(step, SOURCES, Runtime()) == [{}, {}]
    assert told_of(objective, []) == ({}, {})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_labelled(made)
    return made


@pytest.fixture(scope="module")
def left_alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone")
    train_toy(folder, out, with_heads(recipe(steps=(1, 3))))
    return out


def test_a_run_logs_its_heads_and_keeps_them_beside_the_model(left_alone: Path) -> None:
    lines = read_log(left_alone / "log.jsonl")
    for line in lines:
        told = line["parts"]
        total = LOSS.text * told["head/text"]
        total += sum(
            spec.weight * told.get(f"head/{name}", 0.0) for name, spec in LOSS.heads.items()
        )
        assert line["loss"] == pytest.approx(total, rel=1e-5)
        assert 0 <= line["accuracy"]["colour"] <= 1
    # Zeros tell all classes alike.
    assert lines[0]["parts"]["head/colour"] == pytest.approx(torch.log(torch.tensor(3.0)).item())
    table = (left_alone / "trainable-joint.tsv").read_text("utf-8")
    assert "heads.colour\thead colour\t99\t0.001" in table
    kept = heads_of(left_alone)
    assert set(kept) == {
        f"heads.{name}_head.{part}" for name in LOSS.heads for part in ("weight", "bias")
    }
    assert all(float(value.abs().max()) > 0 for value in kept.values())
    for file in [*left_alone.rglob("model.safetensors")]:
        assert b"heads." not in file.read_bytes()[:100_000]


def test_a_run_goes_on_bit_for_bit(folder: Path, left_alone: Path, tmp_path: Path) -> None:
    chosen = with_heads(recipe(steps=(1, 3)))
    for stop in [("joint", 1), ("joint", 3)]:
        with pytest.raises(StoppedError):
            train_toy(folder, tmp_path, chosen, hooks=[StopAt(*stop)])
    train_toy(folder, tmp_path, chosen)
    assert_same_run(left_alone, tmp_path)
    ours, theirs = heads_of(left_alone), heads_of(tmp_path)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    keys = ("parts", "accuracy", "grad_norm")
    logs = [
        [[line[key] for key in keys] for line in read_log(out / "log.jsonl")]
        for out in (left_alone, tmp_path)
    ]
    assert logs[0] == logs[1]


def test_a_roll_back_takes_heads_back(folder: Path, left_alone: Path) -> None:
    model = build_model(folder).model
    stage = Stage(trainable={"all": Group(match="*", lr=1e-3)}, loss=LOSS)
    chosen = select_trainable(model, stage.trainable, add_heads(model, stage, None))
    optimizer = build_optimizer(model, chosen, betas=(0.9, 0.98))
    assert model.heads is not None
    assert not any(bool(value.any()) for value in model.heads.parameters())
    assert roll_back(left_alone / "checkpoints", "joint", model, optimizer).step == 3
    kept = heads_of(left_alone)
    for name, value in model.heads.named_parameters():
        assert torch.equal(value, kept[f"heads.{name}"])


def test_a_damaged_file_of_heads_is_named(folder: Path, left_alone: Path, tmp_path: Path) -> None:
    model = build_model(folder).model
    add_heads(model, Stage(loss=LOSS), None)
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "heads.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"heads.safetensors is damaged"):
        read_heads(tmp_path, model)


def test_a_changed_head_does_not_go_on(folder: Path, tmp_path: Path) -> None:
    chosen = with_heads(recipe(steps=(3, 1)))
    with pytest.raises(StoppedError):
        train_toy(folder, tmp_path, chosen, hooks=[StopAt("align", 2)])
    other = with_heads(chosen, replace(LOSS, heads={"audio": PITCH}))
    with pytest.raises(CheckpointError, match="heads differ from those of the recipe"):
        train_toy(folder, tmp_path, other)
    with pytest.raises(CheckpointError, match="which does not train now"):
        train_toy(folder, tmp_path, with_heads(chosen, LossSpec()))


def test_four_micro_batches_equal_two(folder: Path, tmp_path: Path) -> None:
    ways = {"four": 4, "two": 2}
    cases = [Case(name, three_told(accumulate=count)) for name, count in ways.items()]
    train_all(folder, tmp_path, cases)
    assert largest_difference(tmp_path / "two", tmp_path / "four") <= 1e-6
    assert loss_difference(tmp_path / "two", tmp_path / "four") <= 1e-6
    ours, theirs = heads_of(tmp_path / "two"), heads_of(tmp_path / "four")
    assert all(float((ours[key] - theirs[key]).abs().max()) <= 1e-6 for key in ours)


def test_frozen_parts_stay_and_a_head_still_learns(folder: Path, tmp_path: Path) -> None:
    """Nothing but the head trains, at a rate at which it must."""
    loss = LossSpec(text=0.0, heads={"audio": replace(PITCH, weight=1.0, lr=0.1)})
    plan = recipe(steps=(1, 30), save_every=0, rows=4)
    stage = replace(
        plan.stages["joint"],
        data={"media": 1.0},
        trainable={},
        loss=loss,
        warmup_steps=0,
        schedule=Schedule.CONSTANT,
    )
    quiet = replace(data_spec(folder), augment={})
    train_toy(folder, tmp_path, replace(plan, stages={"only": stage}), data=quiet)
    lines = [line for line in read_log(tmp_path / "log.jsonl") if "audio" in line["accuracy"]]
    last = lines[-10:]
    accuracy = sum(line["accuracy"]["audio"] for line in last) / len(last)
    assert accuracy > 0.9, accuracy
    assert last[-1]["parts"]["head/audio"] < 0.5 * lines[0]["parts"]["head/audio"]


def test_a_head_for_media_that_the_model_lacks() -> None:
    with pytest.raises(ConfigError, match=r"heads.audio tells audio, .* it takes image, video"):
        check_heads("sft", LOSS, [Modality.VIDEO, Modality.IMAGE])
    only = LossSpec(heads={"vision": replace(COLOUR, media=None)})
    check_heads("sft", only, [Modality.IMAGE])


def test_preferences_have_no_heads() -> None:
    with pytest.raises(ConfigError, match="both 'loss' and 'preference'"):
        check_preference(PreferenceSpec(), LOSS)


def test_a_row_with_a_wrong_class_is_named(folder: Path, tmp_path: Path) -> None:
    few = with_heads(recipe(steps=(1, 1)), LossSpec(heads={"colour": replace(COLOUR, classes=2)}))
    with pytest.raises(DataError, match=r"media.json.*its colour is 2, expected a whole number"):
        train_toy(folder, tmp_path, few)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (LossSpec(heads={"audio": replace(PITCH, label="tone")}), "label is 'tone', but no row of"),
        (LossSpec(heads={"ear": PITCH}), "its name is none of vision, image, video, audio"),
        (LossSpec(heads={"audio": replace(PITCH, classes=1)}), "1 classes"),
        (LossSpec(heads={"text": replace(PITCH, media=HeadMedia.AUDIO)}), "is not 'text'"),
        (LossSpec(text=0.0), "there are no heads: nothing would be learned"),
        (LossSpec(text=-1.0), "loss.text is -1.0, expected a number of 0 or more"),
    ],
)
def test_a_wrong_head_is_told_before_anything_trains(
    folder: Path, tmp_path: Path, loss: LossSpec, message: str
) -> None:
    plan = recipe(steps=(1, 1))
    late = replace(plan.stages["joint"], loss=loss)
    with pytest.raises(ConfigError, match=message) as caught:
        train_toy(folder, tmp_path, replace(plan, stages=plan.stages | {"joint": late}))
    assert str(caught.value).count("\n") <= 2
    assert not read_log(tmp_path / "log.jsonl")
