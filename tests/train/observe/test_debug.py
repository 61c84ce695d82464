"""--debug finds the first NaN and writes parameters, memory and traces."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.train.toy_run import build_model, data_spec, recipe, write_rows

from hocket._errors import TrainingError
from hocket.train.loop import Report
from hocket.train.observe.debug import DebugSpec
from hocket.train.run import Run, train
from hocket.train.state import TrainState


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


def test_the_files_of_a_debugged_run(folder: Path, tmp_path: Path) -> None:
    model, processor = build_model(folder)
    names = dict(model.named_parameters())
    debug = DebugSpec(trace_steps=(2, 9))
    chosen = replace(recipe(steps=(2, 2), save_every=0), log_every=0, monitor_step=0)
    run = Run(recipe=chosen, data=data_spec(folder), out=tmp_path, debug=debug)
    train(run, model, processor)
    found = tmp_path / "debug"
    with (found / "parameters-align.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {row["parameter"] for row in rows} == set(names)
    trains = {row["parameter"]: row["trains"] for row in rows}
    assert trains["model.language_model.norm.weight"] == "no"
    moved = [row for row in rows if row["trains"] == "yes"]
    assert moved and all(float(row["weight"]) >= 0 and row["gradient"] for row in moved)
    assert any(float(row["update"]) > 0 for row in moved)
    memory = [json.loads(line) for line in (found / "memory.jsonl").read_text().splitlines()]
    assert [(one["stage"], one["step"]) for one in memory] == [
        (stage, step) for stage in ("align", "joint") for step in (1, 2)
    ]
    assert all(1e7 < one["process"] <= one["process_peak"] * 1.2 for one in memory)
    traces = sorted(path.name for path in found.glob("trace-*"))
    assert traces == ["trace-align-000002.json", "trace-joint-000002.json"]
    events = json.loads((found / traces[0]).read_text())["traceEvents"]
    assert any("aten::" in str(event.get("name")) for event in events)
    assert not torch.is_anomaly_enabled()


@pytest.mark.filterwarnings("ignore:Error detected in")
def test_the_first_nan_ends_the_run_with_its_place(folder: Path, tmp_path: Path) -> None:
    model, processor = build_model(folder)

    def spoil(state: TrainState, report: Report) -> None:
        if (state.stage, state.step) == ("align", 1):
            with torch.no_grad():
                model.model.language_model.norm.weight[3] = float("nan")

    run = Run(recipe=recipe(), data=data_spec(folder), out=tmp_path, debug=DebugSpec())
    with pytest.raises(TrainingError) as caught:
        train(run, model, processor, [spoil])
    text = str(caught.value)
    assert "stage 'align' step 2" in text and "returned nan values" in text
    assert len(text.splitlines()) <= 3
    assert not torch.is_anomaly_enabled()
