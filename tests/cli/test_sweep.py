"""Sweeps: every choice is a run of its own, with a folder of its own, and a table at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from hocket._errors import ConfigError
from hocket.cli import _sweep
from hocket.cli._compose import compose_run
from hocket.cli._sweep import choices_of
from hocket.cli.main import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_choice_is_a_run_in_its_own_folder() -> None:
    found = choices_of(["train.seed=1,2", "train.keep=range(2,4)", "name=x", "out=o"])
    assert [one.name for one in found] == [
        "train.seed=1,train.keep=2",
        "train.seed=1,train.keep=3",
        "train.seed=2,train.keep=2",
        "train.seed=2,train.keep=3",
    ]
    for one in found:
        config = compose_run(one.overrides)
        assert Path(config.out) == one.out == Path("o") / one.name
        assert f"train.seed={config.train.seed},train.keep={config.train.keep}" == one.name


def test_groups_are_swept_and_the_users_folder_comes_first(tmp_path: Path) -> None:
    mine = tmp_path / "configs" / "train" / "mine.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("stages: {only: {data: {text: 1.0}, steps: 3}}\n")
    found = choices_of(["train=quickstart,mine"])
    assert [sorted(compose_run(one.overrides).train.stages) for one in found][1] == ["only"]


def test_lists_and_flags_are_no_sweep() -> None:
    found = choices_of(["train.gradient_checkpointing=[language,vision]", "train.seed=1,2"])
    assert len(found) == 2
    with pytest.raises(ConfigError, match="needs an argument with several values"):
        choices_of(["train.seed=1"])
    with pytest.raises(ConfigError, match="cannot be swept"):
        choices_of(["train.seed=interval(0,1)"])
    with pytest.raises(ConfigError, match=r"train\.sed"):
        choices_of(["train.sed=1,2"])


def run_it(monkeypatch: pytest.MonkeyPatch, codes: Sequence[int]) -> list[list[str]]:
    started: list[list[str]] = []

    def run_here(words: Sequence[str], environment: dict[str, str]) -> int:
        started.append(list(words))
        overrides = [word for word in list(words)[4:] if not word.startswith("--")]
        out = Path(compose_run(overrides).out)
        out.mkdir(parents=True)
        line = {"stage": "a", "step": 1, "loss": 0.5 * len(started)}
        (out / "log.jsonl").write_text(json.dumps(line) + "\n")
        return codes[len(started) - 1]

    monkeypatch.setattr(_sweep, "run_here", run_here)
    return started


def test_a_failed_run_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started = run_it(monkeypatch, [3, 0])
    with pytest.raises(SystemExit) as left:
        main(["train", "-m", "train.seed=1,2", "out=o"])
    assert left.value.code == 3 and len(started) == 2
    told = capsys.readouterr()
    shown = told.out + told.err
    assert "code 3" in shown and "finished" in shown and "1.0000" in shown


def test_a_run_that_was_stopped_stops_the_sweep(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started = run_it(monkeypatch, [130, 0])
    with pytest.raises(SystemExit) as left:
        main(["train", "--multirun", "train.seed=1,2", "out=o"])
    assert left.value.code == 130 and len(started) == 1
    told = capsys.readouterr()
    assert "not started" in told.out + told.err


def test_without_the_flag_several_values_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["train", "train.seed=1,2"])
    assert left.value.code == 2
    assert "add -m" in capsys.readouterr().err.replace("\n", " ")


def test_flags_hold_for_every_run(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train.seed=1,2", "--stage", "joint", "--learning_rate", "1e-4", "--output_dir=o"]
    found = choices_of(words)
    assert [one.out for one in found] == [Path("o/train.seed=1"), Path("o/train.seed=2")]
    for seed, one in enumerate(found, start=1):
        config = compose_run(one.overrides)
        assert (config.train.seed, config.train.only) == (seed, "joint")
        assert config.train.stages["joint"].trainable["all"].lr == 1e-4
        assert Path(config.out) == one.out
    with pytest.raises(SystemExit):
        main(["train", "-m", "--dry", *words])
    told = capsys.readouterr()
    assert (told.out + told.err).count("note: --stage: train.only=joint") == 1


def test_options_reach_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    started = run_it(monkeypatch, [0, 0, 0, 0])
    asked = ["--debug", "--trace=2", "--trace=5"]
    with pytest.raises(SystemExit) as left:
        main(["train", "-m", "train.seed=1,2", "out=o", *asked])
    assert left.value.code == 0
    assert [words[-3:] for words in started] == [asked, asked]
    proof = ["--verify-resume", "--verify-steps=4"]
    with pytest.raises(SystemExit):
        main(["train", "-m", "train.seed=1,2", "out=p", *proof])
    assert [words[-2:] for words in started[2:]] == [proof, proof]
    with pytest.raises(SystemExit) as left:
        main(["train", "-m", "train.seed=1,2", "--trace=2"])
    assert left.value.code == 2 and len(started) == 4
