"""Nothing that looks at a run changes it, and what it keeps has neither gaps nor doubles."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.train.toy_run import build_model, data_spec, losses, recipe, write_rows

from hocket._errors import DataError
from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.processor import HocketProcessor
from hocket.train.log import read_log
from hocket.train.loop import Hook, Report
from hocket.train.observe.debug import DebugSpec
from hocket.train.observe.preview import Previews, Question
from hocket.train.recipe import Recipe
from hocket.train.run import Run, train
from hocket.train.state import TrainState

WORDS = Conversation(
    id="one", messages=(Message(Role.USER, (Text("<b>Which?</b>"),)),), source="test"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def disturbing(
    model: HocketForConditionalGeneration,
    processor: HocketProcessor,
    conversations: Sequence[Conversation],
) -> list[str]:
    """Answer as an engine with a temperature would: modes and random numbers are used."""
    assert not any(module.training for module in model.modules())
    draw = torch.rand(3)
    model.train()
    return [f"answer {float(draw.sum()):.3f}" for _ in conversations]


def run_of(folder: Path, out: Path, chosen: Recipe, **extra: object) -> Run:
    return Run(recipe=chosen, data=data_spec(folder), out=out, **extra)  # type: ignore[arg-type] # of any field


def start(run: Run, folder: Path, hooks: Sequence[Hook] = ()) -> None:
    train(run, *build_model(folder), hooks)


def test_a_run_that_is_looked_at_ends_in_the_same_bits(folder: Path, tmp_path: Path) -> None:
    plain = replace(
        recipe(steps=(3, 4), save_every=2), log_every=0, monitor_step=0, previews=0, workers=1
    )
    start(run_of(folder, tmp_path / "plain", plain), folder)
    seen = replace(
        plain,
        log_every=1,
        monitor_step=2,
        previews=1,
        dashboard=free_port(),
        report_to=["tensorboard"],
    )
    previews = Previews(questions=[Question(id="one", conversation=WORDS)], answer=disturbing)
    debug = DebugSpec(trace_steps=(2,))
    looked = run_of(folder, tmp_path / "seen", seen, previews=previews, debug=debug)
    start(looked, folder)
    assert losses(tmp_path / "plain") == losses(tmp_path / "seen")
    one, other = (
        load_file(tmp_path / name / "model/model.safetensors") for name in ("plain", "seen")
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert not torch.is_anomaly_enabled()
    asked = [(line["stage"], line["step"]) for line in read_log(tmp_path / "seen/previews.jsonl")]
    assert asked == [("align", 2), ("align", 3), ("joint", 2), ("joint", 4)]


class _CrashError(Exception):
    pass


def test_after_a_crash_no_record_is_missing_or_twice(folder: Path, tmp_path: Path) -> None:
    chosen = replace(recipe(steps=(5, 5), save_every=2), log_every=1, monitor_step=1)
    previews = Previews(
        questions=[Question(id="one", conversation=WORDS)], answer=lambda *_: ["yes"]
    )

    def crash(state: TrainState, report: Report) -> None:
        if (state.stage, state.step) == ("joint", 3):
            raise _CrashError

    run = run_of(folder, tmp_path, chosen, previews=previews)
    with pytest.raises(_CrashError):
        start(run, folder, [crash])
    assert ">failed<" in (tmp_path / "dashboard.html").read_text("utf-8")
    start(run, folder)
    every = [("align", step) for step in range(1, 6)] + [("joint", step) for step in range(1, 6)]
    for name in ("log.jsonl", "monitor.jsonl"):
        assert [(one["stage"], one["step"]) for one in read_log(tmp_path / name)] == every, name
    asked = [(one["stage"], one["step"]) for one in read_log(tmp_path / "previews.jsonl")]
    assert asked == [one for one in every if one[1] in (2, 4, 5)]
    page = (tmp_path / "dashboard.html").read_text("utf-8")
    assert ">finished<" in page and "10 of 10 optimizer steps" in page
    assert "&lt;b&gt;Which?&lt;/b&gt;" in page and page.count("<span>yes</span>") == 6


def test_previews_that_fail_are_given_up(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> list[str]:
        raise DataError("the film is gone.")

    previews = Previews(questions=[Question(id="one", conversation=WORDS)], answer=fail)
    chosen = replace(recipe(steps=(2, 2)), previews=1)
    start(run_of(folder, tmp_path, chosen, previews=previews), folder)
    told = [one for one in caplog.messages if "previews" in one]
    assert told == ["previews are given up: the film is gone."]


def test_a_page_that_cannot_be_written_costs_nothing(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "dashboard.html").mkdir()
    start(run_of(folder, tmp_path, recipe(steps=(2, 2))), folder)
    assert len([one for one in caplog.messages if "dashboard.html cannot be written" in one]) == 1
    assert not list(tmp_path.glob(".tmp-*"))
    assert len(losses(tmp_path)) == 4


def test_a_port_that_is_taken_does_not_end_the_run(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        start(run_of(folder, tmp_path, replace(recipe(steps=(1, 1)), dashboard=port)), folder)
    assert any(f"127.0.0.1:{port} cannot be opened" in one for one in caplog.messages)
    assert (tmp_path / "model").is_dir()


def test_the_log_still_has_every_step_whole(folder: Path, tmp_path: Path) -> None:
    start(run_of(folder, tmp_path, recipe(steps=(2, 2))), folder)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert all({"lr", "norms", "memory", "dropped"} <= line.keys() for line in lines)
