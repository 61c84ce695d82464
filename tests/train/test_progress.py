"""The display names the stage, step, loss, speed, time left, memory and the last checkpoint."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from hocket.train import progress
from hocket.train.loop import Report
from hocket.train.progress import Progress, clock
from hocket.train.recipe import Stage
from hocket.train.state import TrainState

STAGES = {
    "align": Stage(data={"media": 1.0}, trainable={}, steps=10),
    "joint": Stage(data={"media": 1.0, "text": 1.0}, trainable={}, steps=30),
}
ROW = ("all", "model.*", "1,234", "0.001", "0.1", "flat_linear", "30")


def report(loss: float) -> Report:
    return Report(
        loss=loss,
        grad_norm=1.0,
        lr_share=0.5,
        tokens=3000,
        targets=10,
        padding=0.25,
        step_seconds=2.0,
        data_seconds=0.1,
        fill={"tokens": 0.97, "patches": 0.5},
        cuts={"samples": 1200, "skipped": 3, "media": 7},
    )


def shown(*, terminal: bool, saved: bool = True) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=240, height=40)
    with Progress(STAGES, console) as display:
        display.on_stage("joint", STAGES["joint"], [ROW])
        if saved:
            display.on_checkpoint(Path("out/checkpoints/joint-step-000004"))
        display(TrainState("joint", 5), report(2.5))
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())


@pytest.mark.parametrize("terminal", [True, False])
def test_everything_is_shown(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY_SECONDS", 0.0)
    text = shown(terminal=terminal)
    for part in (
        "stage 2/2: joint",
        "30 steps of 8 x 512 tokens, data: media, text",
        *ROW[:5],
        "joint 5/30",
        "loss 2.500",
        "1,500 tokens/s",
        "rows 97% full (patches 50%)",
        "data 5%",
        "cut 1,200, too long 3",
        "0:50 left",  # 25 steps of 2 seconds
        "saved joint-step-000004 0:00 ago",
    ):
        assert part in text
    assert "warm-up" not in text and "flat_linear" not in text
    memory = re.search(r"(\d+\.\d) GB", text)
    assert memory is not None and float(memory[1]) > 0.05


def test_a_group_with_its_own_schedule_shows_both() -> None:
    file = io.StringIO()
    own = ("eyes", "vision", "56", "0.002", "0", "cosine", "7")
    with Progress(STAGES, Console(file=file, width=160)) as display:
        display.on_stage("joint", STAGES["joint"], [ROW, own])
    _, head, *rows = (line.split() for line in file.getvalue().splitlines())
    assert head[-2:] == ["schedule", "warm-up"]
    assert [row[-2:] for row in rows] == [["flat_linear", "30"], ["cosine", "7"]]


def test_no_checkpoint_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY_SECONDS", 0.0)
    assert "saved" not in shown(terminal=False, saved=False)


def test_without_a_terminal_lines_are_rare_and_plain() -> None:
    assert "joint 5/30" not in shown(terminal=False)


def test_the_time_left_counts_the_stages_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY_SECONDS", 0.0)
    file = io.StringIO()
    with Progress(STAGES, Console(file=file, width=160)) as display:
        display(TrainState("align", 9), report(2.0))
        display(TrainState("joint", 29), report(1.0))
    first, second = file.getvalue().splitlines()
    assert "1:02 left" in first and "0:02 left" in second
    assert "loss 2.000" in first and "loss 1.900" in second


def test_a_stage_ends_with_a_summary() -> None:
    file = io.StringIO()
    with Progress(STAGES, Console(file=file, width=300)) as display:
        display.on_stage("align", STAGES["align"], [ROW])
        full = replace(
            report(2.0), fill={"tokens": 0.99, "patches": 0.7}, data_seconds=0.3, cuts={}
        )
        display(TrainState("align", 9), full)
        display(TrainState("align", 10), report(2.0))
        display.on_stage("joint", STAGES["joint"], [ROW])
        display(TrainState("joint", 30), replace(full, cuts={}))
    lines = [line for line in file.getvalue().splitlines() if " done: " in line]
    assert lines == [
        "align done: rows 98% full (patches 60%), 10% of the time waiting for data, samples cut to "
        "fit: 1,200, samples left out as too long: 3, media left out: 7",
        "joint done: rows 99% full (patches 70%), 15% of the time waiting for data, no sample cut",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (3599, "59:59"),
        (3600, "1:00:00"),
        (7325, "2:02:05"),
    ],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
