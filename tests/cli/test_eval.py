"""The verb: what is asked is chosen, shown, reported, and a failure is an exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.eval.scripted import ScriptedEngine, checkpoint

from hocket.cli.main import main
from hocket.eval import sweep as sweeping

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    engine = ScriptedEngine(lambda question: "yes")
    monkeypatch.setattr(sweeping.Engine, "load", lambda *_: engine)
    monkeypatch.setenv("COLUMNS", "100")

    def call(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["eval", *map(str, words)])
        out, err = capfd.readouterr()
        return int(str(ended.value.code)), out, err

    return call


@pytest.fixture
def model(tmp_path: Path) -> str:
    return checkpoint(tmp_path / "mine")


def test_twins_are_asked_reported_and_compared(run: Run, model: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, _, err = run(
        model, "-t", "pope,mme", "--twin", "--out", out, "--limit", 2, "--blind", "all"
    )
    assert code == 0
    assert "done mine pope@1-twin" in err and "removed" in err
    assert (out / "report.html").exists() and (out / "results.csv").exists()
    other = checkpoint(tmp_path / "other", "other")
    assert run(other, "-t", "pope,mme", "--twin", "--out", out, "--limit", 2)[0] == 0
    code, _, err = run("compare", "mine", "other", "--out", out)
    assert code == 0 and "other against mine" in err
    assert list(out.glob("compare-*.html")) and list(out.glob("compare-*.json"))
    code, told, _ = run("export", "mine", tmp_path / "lmms", "--out", out)
    assert code == 0 and "_results.json" in told


def test_a_failure_is_an_exit_code_and_the_rest_is_done(
    run: Run, model: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, _, err = run(tmp_path / "none", model, "-t", "mme", "--twin", "--out", out)
    assert code == 2
    assert "error: " in err and "no folder" in err
    assert "done mine mme@1-twin" in err
    code, _, err = run(model, "-t", "mme", "--data-root", tmp_path, "--out", out)
    assert code == 2 and "Download" in err


def test_rows_of_ones_own(run: Run, model: str, tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "Is it?"}, {"from": "gpt", "value": "Yes."}]
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([{"id": "a", "conversations": turns}]))
    code, _, err = run(model, "--data", file, "--out", tmp_path / "out")
    assert code == 0 and "100.0" in err
    code, _, err = run(model, "--data", file, "--out", tmp_path / "out", "--rescore")
    assert code == 0 and "done" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing to ask"),
        (["-t", "popee"], "Did you mean 'pope'"),
        (["-t", "pope", "--shard", "3/2"], "--shard is '3/2'"),
        (["-t", "pope", "--blind", "dark"], "no way of asking blind is called 'dark'"),
        (["-t", "pope", "--judge-url", "http://x/v1"], "needs --judge-model"),
        (["--data", "nowhere.json"], "no such file"),
        (["-t", "pope", "--dtype", "int3"], "dtype is 'int3'"),
    ],
)
def test_wrong_words(run: Run, model: str, words: list[str], said: str, tmp_path: Path) -> None:
    code, _, err = run(model, *words, "--out", tmp_path / "out")
    assert code == 2
    assert said in " ".join(err.split())


def test_tasks_are_listed(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("tasks", "--data-root", tmp_path)
    assert code == 0 and "librispeech" in out and "navigation" in out


def test_help_shows_how_to_run(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0 and "--blind" in out and "compare" in out
