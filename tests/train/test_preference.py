"""Preferences: against plain formulas on whole logits, through whole runs, and stopped anywhere."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.toy import mixed, toy
from tests.train.test_resume import StopAt, StoppedError, assert_same_run
from tests.train.toy_pairs import one_stage, pairs_of, write_pairs
from tests.train.toy_run import train_toy
from torch import Tensor

from hocket._errors import CheckpointError, ConfigError, DataError
from hocket.data.budget import Budget
from hocket.data.decoder import SampleNote, StepBatches
from hocket.data.pack import PackerState
from hocket.data.pair import fit_pair, pair_of
from hocket.model.adapters import AdapterSpec
from hocket.model.adapters.attach import attach, without_adapters
from hocket.model.loss import LossOptions
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.batch import Batch, pack_batch
from hocket.tokens.example import Example
from hocket.train.log import read_log
from hocket.train.preference import PreferenceObjective, Reference, pair_losses
from hocket.train.recipe import (
    LossSpec,
    PreferenceKind,
    PreferenceSpec,
    ReferenceKind,
    Stage,
)
from hocket.train.runtime import Runtime

TOLERANCE = 1e-5
WEIGHTS = [1.0, 0.5, 2.0, 1.0, 1.5]


def halves() -> list[tuple[Example, Example]]:
    """Return the toy conversations, each with another answer."""
    processor = toy().processor
    found = []
    for number, one in enumerate(mixed()):
        rejected = replace(one, meta={"rejected": f"Nothing of number {number}."})
        fitted = fit_pair(pair_of(rejected), processor, Budget(500))
        example = processor.encode(fitted.chosen.conversation, outline=fitted.chosen.outline)
        found.append((example, replace(example, outline=fitted.rejected)))
    return found


def step(*cuts: Sequence[int]) -> StepBatches:
    """Return the pairs cut into micro-batches, two rows where there are two pairs."""
    pairs = halves()
    micro = [pack_batch([list(pairs[at]) for at in cut], pad_id=0) for cut in cuts]
    notes = [
        [SampleNote("media", "medium/both", WEIGHTS[at]) for at in cut for _ in range(2)]
        for cut in cuts
    ]
    return StepBatches(micro, PackerState(), [], 1, 0, [], {}, notes)


@pytest.fixture(scope="module")
def policy() -> HocketForConditionalGeneration:
    """Return a model with an adapter that has learned something."""
    model = copy.deepcopy(toy().model)
    model.requires_grad_(False)
    spec = AdapterSpec(kind="lora", options={"r": 4, "lora_dropout": 0.0})
    new = attach(model, model.adapters, "words", spec, fresh=True)
    torch.manual_seed(0)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in new.trainable:
            parameters[name].normal_(std=0.2)
            parameters[name].requires_grad_(True)
    model.loss_options = LossOptions(compare_samples=True)
    return model


def whole_log_probabilities(model: HocketForConditionalGeneration, batch: Batch) -> Tensor:
    """Return (E,) summed log-probabilities of the answers from the logits of every position."""
    given: dict[str, Any] = {
        key: value for key, value in batch.items() if key not in ("labels", "sample_index")
    }
    logits = model(**given, use_cache=False).logits.float()
    every = torch.log_softmax(logits[:, :-1], dim=-1)
    goals = batch["labels"][:, 1:]
    picked = every.gather(-1, goals.clamp(min=0)[..., None])[..., 0] * (goals >= 0)
    owners = batch["sample_index"][:, 1:]
    count = int(owners.max()) + 1
    return torch.stack([picked[owners == sample].sum() for sample in range(count)])


def expected(
    model: HocketForConditionalGeneration, spec: PreferenceSpec
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return loss and gradients of each pair by itself, straight from the papers."""
    total = torch.zeros(())
    for at, weight in enumerate(WEIGHTS):
        batch = step([at]).micro[0]
        ours = whole_log_probabilities(model, batch)
        theirs = torch.zeros_like(ours)
        if spec.reference is not ReferenceKind.NONE:
            with torch.no_grad(), without_adapters(model):
                theirs = whole_log_probabilities(model, batch)
        chosen, rejected = (ours - theirs).unbind()
        if spec.kind is PreferenceKind.IPO:
            owners = batch["sample_index"][:, 1:][batch["labels"][:, 1:] >= 0]
            means = chosen / (owners == 0).sum() - rejected / (owners == 1).sum()
            loss = (means - 1 / (2 * spec.beta)) ** 2
        else:
            share = spec.label_smoothing
            margin = spec.beta * (chosen - rejected)
            loss = -(1 - share) * torch.log(torch.sigmoid(margin))
            loss = loss - share * torch.log(torch.sigmoid(-margin))
        total = total + loss * weight / sum(WEIGHTS)
    model.zero_grad()
    total.backward()
    return total.detach(), gradients(model)


def gradients(model: HocketForConditionalGeneration) -> dict[str, Tensor]:
    return {
        name: value.grad.clone()
        for name, value in model.named_parameters()
        if value.grad is not None
    }


def learned(
    model: HocketForConditionalGeneration, spec: PreferenceSpec, *cuts: Sequence[int]
) -> tuple[Tensor, dict[str, Tensor], dict[str, float]]:
    """Return loss, gradients and rewards of a step cut in some way."""
    reference = None if spec.reference is ReferenceKind.NONE else Reference()
    chosen = PreferenceObjective(
        Stage(preference=spec), {"media": 1.0}, toy().processor.tokenizer, reference
    )
    batches, runtime = step(*cuts), Runtime()
    weights, whole = chosen.weigh(batches, runtime)
    model.zero_grad()
    found = []
    for batch, weight in zip(batches.micro, weights, strict=True):
        found.append(chosen.learn(model, dict(batch), weight, whole))
        found[-1].loss.backward()
    total = torch.stack([one.loss.detach() for one in found]).sum()
    return total, gradients(model), chosen.rewards(found, runtime)


SPECS = [
    PreferenceSpec(),
    PreferenceSpec(beta=0.5, label_smoothing=0.1),
    PreferenceSpec(kind=PreferenceKind.IPO, beta=0.3),
    PreferenceSpec(reference=ReferenceKind.NONE),
]


@pytest.mark.parametrize("spec", SPECS)
def test_loss_and_gradients_are_those_of_the_papers(
    policy: HocketForConditionalGeneration, spec: PreferenceSpec
) -> None:
    loss, grads = expected(policy, spec)
    for cuts in ([[0, 1, 2, 3, 4]], [[0, 3], [4, 1, 2]], [[2], [0], [1], [4, 3]]):
        ours, mine, _ = learned(policy, spec, *cuts)
        torch.testing.assert_close(ours, loss, rtol=TOLERANCE, atol=TOLERANCE)
        assert mine.keys() == grads.keys()
        assert max(float(one.abs().max()) for one in grads.values()) > 100 * TOLERANCE
        for name, grad in grads.items():
            torch.testing.assert_close(mine[name], grad, rtol=1e-4, atol=TOLERANCE)


def test_rewards_say_how_far_the_policy_has_moved(policy: HocketForConditionalGeneration) -> None:
    *_, rewards = learned(policy, PreferenceSpec(beta=0.2), [0, 1], [2, 3, 4])
    each = []
    with torch.no_grad():
        for at in range(len(WEIGHTS)):
            batch = step([at]).micro[0]
            ours = whole_log_probabilities(policy, batch)
            with without_adapters(policy):
                each.append(0.2 * (ours - whole_log_probabilities(policy, batch)))
    chosen, rejected = torch.stack(each).mean(dim=0).tolist()
    right = sum(float(one[0] > one[1]) for one in each) / len(each)
    assert rewards["chosen"] == pytest.approx(chosen, rel=1e-4)
    assert rewards["rejected"] == pytest.approx(rejected, rel=1e-4)
    assert rewards["margin"] == pytest.approx(chosen - rejected, rel=1e-4)
    assert rewards["accuracy"] == pytest.approx(right)


def test_a_pair_that_the_policy_has_not_touched_costs_log_two() -> None:
    same = torch.zeros(3, 2)
    found = pair_losses(same, PreferenceSpec(), lengths=torch.ones(3, 2))
    torch.testing.assert_close(found, torch.full((3,), 2.0).log())


def test_the_reference_is_in_evaluation_mode_and_the_policy_stays_in_training_mode(
    policy: HocketForConditionalGeneration,
) -> None:
    model = copy.deepcopy(policy).train()
    model.model.language_model.eval()
    before = [module.training for module in model.modules()]
    batch: dict[str, Any] = dict(step([0, 1]).micro[0])
    one, two = (Reference().costs(model, batch) for _ in range(2))
    assert torch.equal(one, two)
    assert not one.requires_grad
    assert before == [module.training for module in model.modules()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_pairs(made)
    return made


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flush nothing: on a busy disk that takes most of a small run, and power is not cut here."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.mark.parametrize("adapter", ["lora", ""])
def test_a_run_learns_to_prefer(folder: Path, tmp_path: Path, adapter: str) -> None:
    train_toy(folder, tmp_path, one_stage(steps=12, adapter=adapter), data=pairs_of(folder))
    lines = read_log(tmp_path / "log.jsonl")
    # The first step of a policy that is its own reference.
    assert lines[0]["loss"] == pytest.approx(0.6931, abs=1e-3)
    assert lines[0]["rewards"]["margin"] == pytest.approx(0.0, abs=1e-3)
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.1
    assert lines[-1]["rewards"]["margin"] > 0.1
    assert lines[-1]["rewards"]["accuracy"] > 0.8
    assert not (tmp_path / "reference").exists()


@pytest.mark.parametrize(("adapter", "workers"), [("lora", 0), ("pissa", 0), ("", 2)])
def test_a_run_that_was_stopped_ends_the_same(
    folder: Path, tmp_path: Path, adapter: str, workers: int
) -> None:
    chosen = replace(one_stage(steps=4, adapter=adapter), workers=workers)
    data = pairs_of(folder)
    train_toy(folder, tmp_path / "whole", chosen, data=data)
    with pytest.raises(StoppedError):
        train_toy(folder, tmp_path / "cut", chosen, data=data, hooks=[StopAt("prefer", 3)])
    assert (tmp_path / "cut" / "reference" / "prefer").exists() == (adapter != "lora")
    train_toy(folder, tmp_path / "cut", chosen, data=data)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_micro_batches_change_nothing(folder: Path, tmp_path: Path) -> None:
    for name, parts in (("one", 1), ("four", 4)):
        chosen = one_stage(steps=3, accumulate=parts)
        train_toy(folder, tmp_path / name, chosen, data=pairs_of(folder), double=True)
    logs = [read_log(tmp_path / name / "log.jsonl") for name in ("one", "four")]
    for one, four in zip(*logs, strict=True):
        assert one["loss"] == pytest.approx(four["loss"], rel=1e-5)
        assert one["grad_norm"] == pytest.approx(four["grad_norm"], rel=1e-4)
        assert one["rewards"] == pytest.approx(four["rewards"], rel=1e-4, abs=1e-6)


def test_an_adapter_that_goes_on_is_held_against_where_it_was(folder: Path, tmp_path: Path) -> None:
    prefer = one_stage(steps=3, adapter="lora").stages["prefer"]
    teach = replace(prefer, data={"media": 1.0}, preference=None)
    chosen = replace(one_stage(), stages={"teach": teach, "prefer": prefer})
    with pytest.raises(StoppedError):
        train_toy(folder, tmp_path, chosen, data=pairs_of(folder), hooks=[StopAt("prefer", 2)])
    assert (tmp_path / "reference" / "prefer").exists()
    first = next(one for one in read_log(tmp_path / "log.jsonl") if one["stage"] == "prefer")
    assert first["rewards"]["margin"] == pytest.approx(0.0, abs=1e-3)


def test_a_reference_that_is_lost_or_damaged_is_not_made_up(folder: Path, tmp_path: Path) -> None:
    chosen, data = one_stage(), pairs_of(folder)
    with pytest.raises(StoppedError):
        train_toy(folder, tmp_path, chosen, data=data, hooks=[StopAt("prefer", 3)])
    file = tmp_path / "reference" / "prefer" / "trained.safetensors"
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="reference"):
        train_toy(folder, tmp_path, chosen, data=data)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (PreferenceSpec(beta=0.0), {}, "preference.beta is 0.0"),
        (PreferenceSpec(label_smoothing=0.5), {}, "preference.label_smoothing is 0.5"),
        (
            PreferenceSpec(kind=PreferenceKind.IPO, label_smoothing=0.1),
            {},
            "label_smoothing is for kind: dpo alone",
        ),
        (PreferenceSpec(), {"loss": LossSpec(z_loss=1e-4)}, "both 'loss' and 'preference'"),
        (PreferenceSpec(reference=ReferenceKind.ADAPTERS), {}, "trains too"),
        (
            PreferenceSpec(reference=ReferenceKind.ADAPTERS),
            {"adapter": "pissa"},
            "'words' .pissa. has taken something from the weights",
        ),
    ],
)
def test_wrong_options_are_named(
    folder: Path, tmp_path: Path, spec: PreferenceSpec, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        train_toy(folder, tmp_path, one_stage(spec, **options), data=pairs_of(folder))


def test_data_without_rejected_answers_are_named(folder: Path, tmp_path: Path) -> None:
    data = pairs_of(folder)
    plain = replace(data, datasets={**data.datasets, "pairs": data.datasets["text"]})
    with pytest.raises(DataError, match="no rejected answer beside the chosen one"):
        train_toy(folder, tmp_path, one_stage(), data=plain)


def test_answers_to_different_questions_are_named(folder: Path, tmp_path: Path) -> None:
    row = {
        "chosen": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}],
        "rejected": [{"role": "user", "content": "He"}, {"role": "assistant", "content": "No"}],
    }
    (tmp_path / "pairs.json").write_text(json.dumps([row]), "utf-8")
    data = pairs_of(folder)
    other = replace(data.datasets["pairs"], path=str(tmp_path / "pairs.json"))
    data = replace(data, datasets={**data.datasets, "pairs": other})
    with pytest.raises(DataError, match="'rejected' repeats another dialogue than 'chosen'"):
        train_toy(folder, tmp_path / "out", one_stage(), data=data)


def test_augmentations_of_words_are_refused(folder: Path, tmp_path: Path) -> None:
    data = replace(pairs_of(folder), augment={"not_addressed": {}})
    with pytest.raises(ConfigError, match="would part a chosen answer"):
        train_toy(folder, tmp_path, one_stage(), data=data)
