"""The log has each step once, also after a crash and a resume."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest

from hocket._errors import MachineError
from hocket.train.log import RunLog, read_log
from hocket.train.loop import Report
from hocket.train.state import TrainState

STAGES = ["align", "joint"]


def report(loss: float) -> Report:
    return Report(
        loss=loss,
        grad_norm=1.0,
        lr_share=0.5,
        tokens=100,
        targets=10,
        padding=0.1,
        step_seconds=0.2,
        data_seconds=0.1,
        fill={"tokens": 0.97, "patches": 0.5},
        cuts={"samples": 2},
    )


def write(path: Path, *steps: tuple[str, int], start: TrainState) -> None:
    with RunLog(path, enabled=True) as log:
        log.cut_after(STAGES, start)
        for stage, step in steps:
            log(TrainState(stage, step), report(step / 10))


def steps(path: Path) -> list[tuple[str, int]]:
    return [(line["stage"], line["step"]) for line in read_log(path)]


def test_lines_hold_the_whole_report(tmp_path: Path) -> None:
    path = tmp_path / "run" / "log.jsonl"
    write(path, ("align", 1), start=TrainState("align"))
    (line,) = read_log(path)
    assert line == {
        "stage": "align",
        "step": 1,
        "loss": 0.1,
        "grad_norm": 1.0,
        "lr_share": 0.5,
        "tokens": 100,
        "targets": 10,
        "padding": 0.1,
        "step_seconds": 0.2,
        "data_seconds": 0.1,
        "parts": {},
        "rewards": {},
        "accuracy": {},
        "fill": {"tokens": 0.97, "patches": 0.5},
        "cuts": {"samples": 2},
        "dropped": 0,
        "lr": {},
        "norms": {},
        "memory": {},
    }


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        (TrainState("align"), 0),
        (TrainState("align", 2), 2),
        (TrainState("align", 3), 3),
        (TrainState("joint"), 3),
        (TrainState("joint", 1), 4),
        (TrainState("joint", 9), 5),
    ],
)
def test_steps_that_will_be_done_again_are_cut(
    tmp_path: Path, state: TrainState, kept: int
) -> None:
    path = tmp_path / "log.jsonl"
    every = [("align", 1), ("align", 2), ("align", 3), ("joint", 1), ("joint", 2)]
    write(path, *every, start=TrainState("align"))
    write(path, ("joint", 7), start=state)
    assert steps(path) == [*every[:kept], ("joint", 7)]
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl"]


@pytest.mark.parametrize(
    "tail", [b'{"stage": "joint", "st', b"\x00\x00\x00", b"\xff\xfe", b"17", b'{"other": 1}']
)
def test_a_damaged_last_line_is_left_out(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "log.jsonl"
    write(path, ("align", 1), ("align", 2), start=TrainState("align"))
    path.write_bytes(path.read_bytes() + tail)
    assert steps(path) == [("align", 1), ("align", 2)]
    write(path, ("align", 3), start=TrainState("align", 2))
    assert steps(path) == [("align", 1), ("align", 2), ("align", 3)]
    assert all(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())


def test_a_stage_that_the_recipe_has_lost_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"stage": "gone", "step": 1}\n', encoding="utf-8")
    write(path, ("joint", 1), start=TrainState("joint"))
    assert steps(path) == [("joint", 1)]


def test_no_log_is_no_lines(tmp_path: Path) -> None:
    assert read_log(tmp_path / "log.jsonl") == []


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    with RunLog(tmp_path / "log.jsonl", enabled=False) as log:
        log.cut_after(STAGES, TrainState("align"))
        log(TrainState("align", 1), report(1.0))
    assert not any(tmp_path.iterdir())


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with (
        RunLog(tmp_path / "run" / "log.jsonl", enabled=True) as log,
        pytest.raises(MachineError, match="a file stands where a folder is needed"),
    ):
        log.cut_after(STAGES, TrainState("align"))


def test_a_full_disk_while_training(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    step = 0
    try:
        with (
            pytest.raises(MachineError, match=r"cannot write .*log\.jsonl: File too large"),
            RunLog(path, enabled=True) as log,
        ):
            log.cut_after(STAGES, TrainState("align"))
            resource.setrlimit(resource.RLIMIT_FSIZE, (750, hard))
            for step in range(1, 9):
                log(TrainState("align", step), report(1.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert step == 3, "half a line went unnoticed"
    assert steps(path) == [("align", 1), ("align", 2)]
