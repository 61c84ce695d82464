"""What a run is asked while it trains, and that its marks become a curve."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.train.toy_run import build_model, data_spec, recipe, write_rows

from hocket._errors import ConfigError, DataError, UnknownNameError
from hocket.cli._exams import choose_exams
from hocket.data.spec import DataSpec
from hocket.train.run import Run, train


@pytest.fixture
def data(tmp_path: Path) -> DataSpec:
    write_rows(tmp_path / "data")
    spec = data_spec(tmp_path / "data")
    return replace(spec, heldout={"text": spec.datasets["text"]})


def test_marks_are_logged_and_drawn_and_change_nothing(data: DataSpec, tmp_path: Path) -> None:
    plain = recipe()
    finals = []
    for name, asked in (("plain", 0), ("examined", 2)):
        chosen = replace(plain, eval_every=asked, eval_limit=2)
        out = tmp_path / name
        model, processor = build_model(tmp_path / "data")
        run = Run(recipe=chosen, data=data, out=out, exams=choose_exams(chosen, data, out))
        train(run, model, processor)
        finals.append([json.loads(line)["loss"] for line in _lines(out / "log.jsonl")])
    assert finals[0] == finals[1]
    assert not (tmp_path / "plain" / "evals.jsonl").exists()
    marks = [json.loads(line) for line in _lines(tmp_path / "examined" / "evals.jsonl")]
    assert {"value", "low", "high"} == marks[0]["marks"]["text@1"].keys()
    ends = {name: stage.steps for name, stage in chosen.stages.items()}
    assert all(one["step"] % 2 == 0 or one["step"] == ends[one["stage"]] for one in marks)
    assert {one["stage"] for one in marks} == set(ends)
    page = (tmp_path / "examined" / "dashboard.html").read_text()
    assert "Exams" in page and "text@1" in page


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


def test_what_cannot_be_asked_is_told_before_the_first_step(data: DataSpec, tmp_path: Path) -> None:
    plain = recipe()
    assert choose_exams(plain, data, tmp_path) is None
    with pytest.raises(ConfigError, match="nothing to ask"):
        choose_exams(replace(plain, eval_every=5), replace(data, heldout={}), tmp_path)
    with pytest.raises(UnknownNameError, match="popee"):
        choose_exams(replace(plain, eval_every=5, eval_tasks=["popee"]), data, tmp_path)
    missing = replace(plain, eval_every=5, eval_tasks=["pope"], eval_data=str(tmp_path))
    with pytest.raises(DataError, match="Download"):
        choose_exams(missing, data, tmp_path)
    twin = replace(plain, eval_every=5, eval_tasks=["pope"])
    found = choose_exams(twin, data, tmp_path)
    assert found is not None and found.every == 5
