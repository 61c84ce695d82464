"""Sweeps go on where they stopped, share work, skip what is done and survive failures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.eval.scripted import ScriptedEngine, checkpoint, sweep, twins

from hocket._errors import CheckpointError, DataError, MachineError
from hocket.chat.conversation import Conversation
from hocket.eval import sweep as sweeping
from hocket.eval.answers import AnswerLog, read_answers
from hocket.eval.exam import Origin
from hocket.eval.run import Shard, log_files
from hocket.eval.scores import SCORES, read_scores
from hocket.eval.share import Unheard
from hocket.eval.sweep import Plan, run_sweep

Install = Callable[[Callable[[Conversation], str]], ScriptedEngine]


def yes(question: Conversation) -> str:
    return "yes"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Install:
    def install(script: Callable[[Conversation], str]) -> ScriptedEngine:
        made = ScriptedEngine(script)
        monkeypatch.setattr(sweeping.Engine, "load", lambda *_: made)
        return made

    return install


def plan(folder: Path, *names: str, out: str = "out", model: str = "a") -> Plan:
    root = folder / out
    return Plan(models=(checkpoint(folder / model, model),), exams=twins(root, *names), out=root)


def test_every_exam_is_scored_and_then_skipped(tmp_path: Path, engine: Install) -> None:
    made = engine(yes)
    asked = plan(tmp_path, "pope", "mme")
    outcomes, told = sweep(asked)
    assert [one.exam for one in outcomes] == ["pope@1-twin", "mme@1-twin"]
    assert [one.exit_code for one in outcomes] == [0, 0]
    scores = outcomes[0].scores
    assert scores is not None
    assert scores.questions == 6 and scores.errors == 0 and scores.published == ()
    # Half of the twin's answers are yes: F1 is 2/3.
    assert scores.headline.value == pytest.approx(2 / 3)
    assert told.steps == len(made.asked) == 10
    again, told = sweep(asked)
    assert all(one.skipped for one in again)
    assert again[0].scores == scores
    assert len(made.asked) == 10 and told.begun == []


def test_a_larger_limit_asks_only_what_is_new(tmp_path: Path, engine: Install) -> None:
    made = engine(yes)
    asked = plan(tmp_path, "pope")
    # The limit falls into the first picture, which is finished.
    (first,), _ = sweep(replace(asked, limit=1))
    assert first.scores is not None and first.scores.questions == 2
    (second,), told = sweep(asked)
    assert second.scores is not None and second.scores.questions == 6
    assert len(made.asked) == 6 and told.begun == [("pope@1-twin", 6, 2)]
    (third,), _ = sweep(replace(asked, limit=1))
    assert third.scores is not None and third.scores.questions == 2
    assert len(made.asked) == 6


def test_shards_add_up_to_the_same_scores(tmp_path: Path, engine: Install) -> None:
    engine(lambda question: "yes" if len(question.id) % 2 else "no")
    whole = plan(tmp_path, "pope", "mme")
    sweep(whole)
    root = tmp_path / "shared"
    parts = replace(whole, out=root, exams=twins(root, "pope", "mme"))
    waiting, _ = sweep(replace(parts, shard=Shard(2, 3)))
    assert all(one.scores is None and one.exit_code == 0 for one in waiting)
    sweep(replace(parts, shard=Shard(0, 3)))
    done, _ = sweep(replace(parts, shard=Shard(1, 3)))
    for one in done:
        folder = Path("a-" + _slug(whole.out)) / one.exam
        alike = read_scores(whole.out / folder)
        assert alike is not None and one.scores is not None
        place = one.scores.origin.place
        assert replace(alike, origin=replace(alike.origin, place=place)) == one.scores
        samples = [(at / folder / "samples.jsonl").read_text() for at in (whole.out, root)]
        assert samples[0] == samples[1]


def _slug(out: Path) -> str:
    return next(out.glob("a-*")).name.removeprefix("a-")


def test_a_torn_line_is_asked_again(tmp_path: Path, engine: Install) -> None:
    made = engine(yes)
    asked = plan(tmp_path, "pope")
    (whole,), _ = sweep(asked)
    (log,) = asked.out.glob("a-*/pope*/answers.jsonl")
    (log.parent / SCORES).unlink()
    log.write_bytes(log.read_bytes()[:-20])
    (again,), _ = sweep(asked)
    assert again.scores == whole.scores
    assert len(made.asked) == 7
    assert [json.loads(line)["at"] for line in log.read_text().splitlines()] == list(range(6))


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    log = tmp_path / "answers.jsonl"
    log.write_text('{"at": 0}\n{"at": 1}\n')
    with pytest.raises(DataError, match=r"answers\.jsonl line 1 is damaged"):
        read_answers([log])


def test_another_process_may_not_write_the_same_log(tmp_path: Path) -> None:
    with (
        AnswerLog(tmp_path / "answers.jsonl"),
        pytest.raises(MachineError, match="another process"),
    ):
        AnswerLog(tmp_path / "answers.jsonl")


def test_other_weights_are_asked_anew_and_the_same_are_not(tmp_path: Path, engine: Install) -> None:
    made = engine(yes)
    asked = plan(tmp_path, "pope")
    sweep(asked)
    checkpoint(tmp_path / "a", "other weights")
    sweep(asked)
    assert len(made.asked) == 12
    assert len(list(asked.out.glob("a-*"))) == 2
    # Notes are not weights.
    checkpoint(tmp_path / "a", "other weights", step=7)
    sweep(asked)
    assert len(made.asked) == 12


def test_the_same_prompt_is_answered_from_the_logs_of_another_exam(
    tmp_path: Path, engine: Install
) -> None:
    made = engine(yes)
    rows = [{"id": f"{n}", "conversations": _turns("Is it so?", "yes")} for n in range(2)]
    for name in ("one", "two"):
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    exams = tuple(
        Origin(kind="rows", name=name, place=str(tmp_path / f"{name}.json"))
        for name in ("one", "two")
    )
    asked = replace(plan(tmp_path), exams=exams)
    outcomes, _ = sweep(asked)
    assert [one.exit_code for one in outcomes] == [0, 0]
    # Two rows say the same, but are asked together; the second exam asks nothing.
    assert len(made.asked) <= 2
    assert outcomes[1].scores is not None and outcomes[1].scores.headline.value == 1.0


def test_a_changed_file_is_scored_as_it_now_stands(tmp_path: Path, engine: Install) -> None:
    made = engine(lambda _: "yes")
    file = tmp_path / "mine" / "rows.json"
    file.parent.mkdir()
    asked = plan(tmp_path)

    def score(at: Path, **rows: str) -> tuple[int, float | None]:
        found = [
            {"id": name, "conversations": _turns(*one.split("="))} for name, one in rows.items()
        ]
        at.parent.mkdir(exist_ok=True)
        at.write_text(json.dumps(found))
        exam = Origin(kind="rows", name="rows", place=str(at))
        (one,), _ = sweep(replace(asked, exams=(exam,)))
        assert one.scores is not None and not one.skipped
        return one.scores.questions, one.scores.headline.value

    assert score(file, a="A?=yes", b="B?=yes", c="C?=no") == (3, 2 / 3)
    # A row less, and a right answer corrected: nothing is asked again.
    assert score(file, b="B?=yes", c="C?=yes") == (2, 1)
    assert len(made.asked) == 3
    # Another file of the same name has its own questions.
    assert score(tmp_path / "yours" / "rows.json", b="Other?=no") == (1, 0)
    assert score(file, b="B?=yes", c="C?=no") == (2, 1 / 2)
    assert len(made.asked) == 4


def test_rows_may_share_an_id(tmp_path: Path, engine: Install) -> None:
    engine(lambda question: "yes" if "A" in question.messages[0].text else "no")
    rows = [{"id": "same", "conversations": _turns(f"{n}?", "yes")} for n in "AABA"]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    exam = Origin(kind="rows", name="rows", place=str(tmp_path / "rows.json"))
    (one,), _ = sweep(replace(plan(tmp_path), exams=(exam,)))
    assert one.scores is not None
    assert (one.scores.questions, one.scores.headline.value) == (4, 0.75)


def test_scores_of_a_shard_do_not_excuse_another(tmp_path: Path, engine: Install) -> None:
    made = engine(lambda _: "no")
    asked = replace(plan(tmp_path, "pope"), since=time.time() - 100)
    sweep(asked)
    longer = [replace(exam, max_new_tokens=9) for exam in asked.exams]
    shards = [replace(asked, exams=tuple(longer), shard=Shard(at, 2)) for at in (0, 1)]
    for shard in shards:
        (one,), _ = sweep(shard)
        assert not one.skipped
    assert len(made.asked) == 12


def _turns(asked: str, answer: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": asked}, {"from": "gpt", "value": answer}]


def test_blind_ways_are_asked_and_compared(tmp_path: Path, engine: Install) -> None:
    engine(lambda question: "yes" if list(question.media()) else "maybe")
    asked = replace(plan(tmp_path, "mme"), ways=("removed", "silent"))
    (one,), told = sweep(asked)
    assert one.scores is not None
    assert list(one.scores.blind) == ["removed"]  # nothing is heard
    drop = one.scores.blind["removed"]
    assert drop.second == 0 and drop.value == -drop.first < 0
    assert [name for name, _, _ in told.begun] == ["mme@1-twin", "mme@1-twin, removed"]
    assert sweep(asked)[0][0].skipped


def test_rescoring_opens_neither_model_nor_benchmark(
    tmp_path: Path, engine: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(yes)
    asked = replace(plan(tmp_path, "pope"), ways=("removed",))
    (before,), _ = sweep(asked)

    def refuse(*_: object) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(sweeping.Engine, "load", refuse)
    next(asked.out.glob("twins/pope/data/*")).unlink()
    (after,), _ = sweep(replace(asked, rescore=True))
    assert after.scores == before.scores and not after.skipped
    (nothing,), _ = sweep(replace(plan(tmp_path, "mme"), rescore=True))
    assert nothing.error is not None and "without --rescore" in nothing.error


def test_a_failure_leaves_the_others_alone(tmp_path: Path, engine: Install) -> None:
    engine(yes)
    missing = Origin(kind="task", name="gqa", place=str(tmp_path / "none"))
    asked = plan(tmp_path, "pope")
    models = (str(tmp_path / "no-model"), *asked.models)
    outcomes, told = sweep(replace(asked, models=models, exams=(missing, *asked.exams)))
    assert [one.exit_code for one in outcomes] == [2, 2, 2, 0]
    assert outcomes[2].error is not None and "Download" in outcomes[2].error
    assert told.ended == outcomes


def test_a_model_that_cannot_be_opened_is_tried_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def load(*_: object) -> None:
        tries.append(1)
        raise CheckpointError("broken.")

    monkeypatch.setattr(sweeping.Engine, "load", load)
    outcomes, _ = sweep(plan(tmp_path, "pope", "mme"))
    assert [one.error for one in outcomes] == ["broken.", "broken."]
    assert len(tries) == 1


def test_questions_that_cannot_be_asked_are_told_and_tried_again(
    tmp_path: Path, engine: Install
) -> None:
    def script(question: Conversation) -> str:
        if question.id == "random-1":
            raise DataError("too long.")
        return "yes"

    engine(script)
    asked = plan(tmp_path, "pope")
    (one,), _ = sweep(asked)
    assert one.scores is not None
    assert (one.scores.errors, one.scores.questions, one.exit_code) == (1, 6, 1)
    made = engine(yes)
    (one,), _ = sweep(asked)
    assert made.asked == ["random-1"]
    assert one.exit_code == 0 and one.scores is not None and one.scores.errors == 0


KILLED = """
import sys, time
from pathlib import Path
from tests.eval.scripted import ScriptedEngine
from tests.eval.test_sweep import plan
from hocket.eval import sweep as sweeping
from hocket.eval.share import Unheard

def slow(question):
    time.sleep(0.2)
    return "yes"

sweeping.Engine.load = lambda *_: ScriptedEngine(slow)
sweeping.run_sweep(plan(Path(sys.argv[1]), "pope", "mme"), Unheard())
"""


def test_killed_in_the_middle_it_ends_with_the_same_result(tmp_path: Path, engine: Install) -> None:
    other = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)])
    try:
        deadline = time.monotonic() + 100
        while sum(map(_lines, tmp_path.glob("out/a-*/pope*/answers.jsonl"))) < 2:
            assert time.monotonic() < deadline and other.poll() is None
            time.sleep(0.02)
        os.kill(other.pid, signal.SIGKILL)
    finally:
        other.kill()
        other.wait()
    made = engine(yes)
    asked = plan(tmp_path, "pope", "mme")
    outcomes = run_sweep(asked, Unheard())
    assert 0 < len(made.asked) < 10
    fresh = plan(tmp_path, "pope", "mme", out="fresh")
    for one, other_one in zip(outcomes, run_sweep(fresh, Unheard()), strict=True):
        assert one.scores is not None and other_one.scores is not None
        assert one.scores.metrics == other_one.scores.metrics
        assert one.scores.groups == other_one.scores.groups
    folder = next(asked.out.glob("a-*/pope*"))
    assert [line.at for line in read_answers(log_files(folder)).values()] == list(range(6))


def _lines(file: Path) -> int:
    return file.read_bytes().count(b"\n")
