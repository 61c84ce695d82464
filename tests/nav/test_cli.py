"""`hocket nav` as a user calls it: collect, train, walk, ask; and wrong words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hocket.cli.main import main

WRONG = 2
FEW = ["--set", "episodes=3", "--set", "levels=[0,1]", "--max-steps", "8", "--side", "16"]


def hocket(words: list[str]) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


def walk(out: Path, *more: str) -> int:
    return hocket(["nav", "run", "--out", str(out), *FEW, *more])


def test_chance_walks_and_a_page_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert walk(tmp_path, "--video", "1", "--pictures", "2") == 0
    assert f"report: {tmp_path / 'report.html'}" in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<polyline") > 10
    assert page.count("data:image/png") == 2
    assert "http" not in page.replace("http-equiv", "")
    rows = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["rows"]
    assert [(row["agent"], row["group"]) for row in rows] == [
        ("random", "all"),
        ("random", "level 0"),
        ("random", "level 1"),
    ]
    film = (tmp_path / "pictures" / "random-0.mp4").read_bytes()
    assert film[4:8] == b"ftyp"
    assert walk(tmp_path, "--video", "1", "--pictures", "2") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--env", "room"], "Did you mean 'rooms'"),
        (["--profile", "vlnc"], "Did you mean 'vlnce'"),
        (["--set", "levels"], "expected key=value"),
        (["--set", "levels=[9]"], "levels: 9 is none"),
        (["--set", "level=1"], "has no option 'level'"),
        (["--shard", "2/2"], "expected I/N"),
        (["nowhere"], "nowhere"),
    ],
)
def test_wrong_words_are_named(
    tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert walk(tmp_path, *words) == WRONG
    told = " ".join(capsys.readouterr().err.split())
    assert said in told
    assert "Traceback" not in told


def test_rows_are_not_collected_from_what_is_tested_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["nav", "collect", str(tmp_path), "--walks", "1", "--sights", "0"]
    assert hocket([*words, "--set", "split=val_seen"]) == WRONG
    assert "of the split train" in " ".join(capsys.readouterr().err.split())
    assert hocket([*words, "--side", "16"]) == 0
    assert hocket([*words, "--side", "16"]) == WRONG
    assert "Choose a new folder" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_model_is_trained_and_walks(tmp_path: Path) -> None:
    """The whole recipe in a few steps: that it learns is measured in docs/navigation.md."""
    data, run, out = tmp_path / "rooms", tmp_path / "run", tmp_path / "nav"
    few = ["--walks", "3", "--sights", "24", "--drills", "8"]
    assert hocket(["nav", "collect", str(data), "--aloud", *few]) == 0
    names = ("drills", "shapes", "names", "sights", "goals", "asked", "walks")
    paths = [
        word
        for name in names
        for word in (
            f"data.datasets.{name}.path={data / name}.json",
            f"data.datasets.{name}.media_root={data}",
        )
    ]
    stages = ("drill", "shapes", "words", "walk", "recall")
    steps = [f"train.stages.{stage}.steps=2" for stage in stages]
    assert hocket(["train", "experiment=rooms_nav", f"out={run}", *paths, *steps]) == 0
    words = ["nav", "run", str(run), "--out", str(out), "--frames", "2", "--prompt", "short"]
    words += ["--temperature", "1"]
    assert hocket([*words, "--set", "episodes=2", "--max-steps", "6"]) == 0
    rows = json.loads((out / "result.json").read_text(encoding="utf-8"))["rows"]
    assert [row["agent"] for row in rows] == ["blind", "model", "random"]
    more = ["--policy", str(run), "--frames", "2", "--prompt", "short", "--sights", "0"]
    again = ["nav", "collect", str(tmp_path / "more"), "--walks", "1", "--set", "levels=[0]"]
    assert hocket([*again, *more]) == 0
