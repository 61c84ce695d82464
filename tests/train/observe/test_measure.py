"""What is measured is what happened."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.train.toy_run import build_model, data_spec, recipe, write_rows

from hocket.train.log import read_log
from hocket.train.loop import Report
from hocket.train.observe.measure import KINDS, part_of
from hocket.train.recipe import Recipe
from hocket.train.run import Run, train
from hocket.train.state import TrainState

# Sinusoidal positions, which never train.
FIXED = "model.audio_tower.embed_positions.weight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


def trained(
    folder: Path, out: Path, chosen: Recipe
) -> tuple[list[dict[str, torch.Tensor]], list[Report]]:
    """Train and return the weights before the first and behind every step, and the reports."""
    model, processor = build_model(folder)
    weights = [{name: value.detach().clone() for name, value in model.named_parameters()}]
    reports: list[Report] = []

    def note(state: TrainState, report: Report) -> None:
        weights.append({name: value.detach().clone() for name, value in model.named_parameters()})
        reports.append(report)

    train(Run(recipe=chosen, data=data_spec(folder), out=out), model, processor, [note])
    return weights, reports


def test_norms_are_those_of_the_step(folder: Path, tmp_path: Path) -> None:
    chosen = replace(recipe(steps=(4, 4), save_every=0), log_every=2, monitor_step=3)
    weights, reports = trained(folder, tmp_path, chosen)
    for at, report in enumerate(reports):
        step = at % 4 + 1
        assert bool(report.norms) is (step in (1, 2, 4)), step
        if not report.norms:
            continue
        # Clipped to 1 or not: what is told is the gradient as it was.
        parts = [value for name, value in report.norms.items() if name.startswith("gradient/")]
        assert math.hypot(*parts) == pytest.approx(report.grad_norm, rel=1e-4)
        before, after = weights[at], weights[at + 1]
        for name, value in report.norms.items():
            kind, _, part = name.partition("/")
            if kind not in ("update", "weight"):
                continue
            mine = [key for key in after if part_of(key) == part and key != FIXED]
            moved = [after[key] - before[key] if kind == "update" else after[key] for key in mine]
            if kind == "update" or at >= 4:
                true = math.sqrt(sum(float(one.double().square().sum()) for one in moved))
                assert value == pytest.approx(true, rel=2e-3), name
    assert any(report.grad_norm > 1 for report in reports)
    seen = {name for report in reports for name in report.norms}
    assert {"gradient/vision", "update/audio_connector", "weight/language"} <= seen
    assert {f"embedding/{kind}" for kind in ("text", "image", "audio")} <= seen


def test_each_parameter_is_recorded_and_each_step_has_rates(folder: Path, tmp_path: Path) -> None:
    chosen = replace(recipe(steps=(3, 3), save_every=0), log_every=0, monitor_step=3)
    weights, reports = trained(folder, tmp_path, chosen)
    records = read_log(tmp_path / "monitor.jsonl")
    assert [(one["stage"], one["step"]) for one in records] == [("align", 3), ("joint", 3)]
    for record, at in zip(records, (3, 6), strict=True):
        for name, norms in record["parameters"].items():
            assert list(norms) == list(KINDS)
            assert norms["weight"] == pytest.approx(float(weights[at][name].norm()), rel=1e-3)
            moved = float((weights[at][name] - weights[at - 1][name]).norm())
            assert norms["update"] == pytest.approx(moved, rel=1e-2, abs=1e-7), name
    assert len(records[1]["parameters"]) > len(records[0]["parameters"]) > 5
    assert [list(report.lr) for report in reports] == [["connectors", "towers"]] * 3 + [["all"]] * 3
    first = reports[0].lr
    assert first["connectors"] == pytest.approx(2 * first["towers"]) and first["towers"] > 0
    assert all(not report.norms for report in reports)
    assert reports[2].memory["process"] > 1e7 and not reports[0].memory


def test_words_and_media_have_their_own_lengths(folder: Path, tmp_path: Path) -> None:
    model, processor = build_model(folder)
    table = model.get_input_embeddings()
    with torch.no_grad():
        table.weight.copy_(torch.nn.functional.normalize(table.weight, dim=-1) * 3)
    reports: list[Report] = []
    chosen = replace(recipe(steps=(1, 1), save_every=0, lr=0.0), log_every=1)
    run = Run(recipe=chosen, data=data_spec(folder), out=tmp_path)
    train(run, model, processor, [lambda _, report: reports.append(report)])
    assert [report.norms["embedding/text"] for report in reports] == pytest.approx([3.0, 3.0])
    media = [report.norms[f"embedding/{kind}"] for report in reports for kind in ("image", "audio")]
    assert np.all(np.abs(np.array(media) - 3) > 0.05)
    assert not model.model._forward_pre_hooks
    assert not model.model.language_model._forward_pre_hooks


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.language_model.layers.0.mlp.up_proj.weight", "language"),
        ("lm_head.weight", "language"),
        ("model.multi_modal_projector.linear_1.bias", "connector"),
        ("model.vision_tower.encoder.weight", "vision"),
        ("model.new_thing.weight", "new_thing"),
    ],
)
def test_the_part_of_a_parameter(name: str, part: str) -> None:
    assert part_of(name) == part
