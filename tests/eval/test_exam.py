"""Tasks are chosen by name and tag, rows and VLMEvalKit's tables are exams too."""

from __future__ import annotations

import base64
import csv
import json
from pathlib import Path

import pytest
from tests.toy import picture

from hocket._errors import ConfigError, DataError, UnknownNameError
from hocket.eval.draw import one
from hocket.eval.exam import Origin, choose_tasks, open_exam, with_judge
from hocket.eval.judge import LiteralJudge, Unasked
from hocket.eval.metrics.choice import Choice
from hocket.eval.metrics.exact_match import ExactMatch
from hocket.eval.metrics.judged_answer import JudgedAnswer
from hocket.eval.metrics.yes_no import YesNo
from hocket.eval.task import tasks
from hocket.eval.twin import encode


def test_names_patterns_and_tags() -> None:
    assert choose_tasks(["pope", "mme"]) == ["mme", "pope"]
    assert choose_tasks(["refcoco*"]) == ["refcoco", "refcoco_plus", "refcocog"]
    images = choose_tasks([], include=["image"], exclude=["video"])
    assert "pope" in images and "needle" not in images and "msvd" not in images
    assert choose_tasks([], include=["asr", "needle"]) == ["librispeech", "needle"]
    assert choose_tasks([]) == list(tasks.names())
    with pytest.raises(UnknownNameError, match="Did you mean 'pope'"):
        choose_tasks(["popee"])
    with pytest.raises(UnknownNameError, match="no tag is called 'pictures'"):
        choose_tasks([], include=["pictures"])
    with pytest.raises(ConfigError, match="hocket eval tasks"):
        choose_tasks(["pope"], exclude=["image"])


def test_a_judge_goes_to_the_metrics_that_have_one(tmp_path: Path) -> None:
    exam = open_exam(Origin(kind="task", name="msvd_qa", place=str(tmp_path)))
    judged, exact = with_judge(exam, LiteralJudge()).metrics
    assert isinstance(judged, JudgedAnswer) and isinstance(judged.judge, LiteralJudge)
    assert exact == ExactMatch()
    twin = open_exam(Origin(kind="twin", name="msvd_qa", place=str(tmp_path / "twin")))
    assert with_judge(twin, Unasked()).metrics == (JudgedAnswer(judge=LiteralJudge()), ExactMatch())


def test_rows_with_known_answers_are_an_exam(tmp_path: Path) -> None:
    turns = [
        {"from": "human", "value": "1 + 1?"},
        {"from": "gpt", "value": "2"},
        {"from": "human", "value": "And 1 more?"},
        {"from": "gpt", "value": "3"},
    ]
    file = tmp_path / "mine.json"
    file.write_text(json.dumps([{"id": "a", "conversations": turns}]))
    exam = open_exam(Origin(kind="rows", name="mine", place=str(file), max_new_tokens=5))
    questions = list(exam.asked())
    assert [question.target for question in questions] == ["2", "3"]
    # Questions of one row stand and fall together.
    assert [question.cluster for question in questions] == ["a", "a"]
    assert exam.slug == "mine@1" and exam.sampling.max_new_tokens == 5
    assert len(list(exam.asked(1))) == 2


def table(file: Path, rows: list[dict[str, str]]) -> Origin:
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
    return Origin(kind="vlmevalkit", name=file.stem, place=str(file))


def in_base64() -> str:
    return base64.b64encode(encode(one("red", "circle"), ".png")).decode()


def test_vlmevalkits_choices(tmp_path: Path) -> None:
    first = {"index": "1", "image": in_base64(), "question": "Which shape?", "hint": "nan"}
    first |= {"A": "square", "B": "circle", "C": "", "answer": "B", "category": "shape"}
    second = first | {"index": "2", "image": "1", "question": "Which colour?", "hint": "Look."}
    second |= {"A": "red", "B": "blue", "C": "green", "answer": "A", "category": "colour"}
    exam = open_exam(table(tmp_path / "Toy.tsv", [first, second]))
    assert exam.metrics == (Choice(),)
    questions = list(exam.asked())
    assert (
        questions[0]
        .conversation.messages[0]
        .text.startswith("\nWhich shape?\nA. square\nB. circle\n")
    )
    assert "Look.\nWhich colour?\nA. red\nB. blue\nC. green" in (
        questions[1].conversation.messages[0].text
    )
    assert [question.group for question in questions] == ["shape", "colour"]
    # The second row shows the first one's picture.
    assert questions[0].cluster == questions[1].cluster == "1"
    for question in questions:
        (shown,) = question.conversation.media()
        assert shown.where.data
    stats = exam.metrics[0].measure(
        [question.record(said) for question, said in zip(questions, ("B", "blue"), strict=True)]
    )
    assert [stat.score for stat in stats] == [1.0, 0.0]


def test_vlmevalkits_yes_and_no_and_open_answers(tmp_path: Path) -> None:
    row = {"index": "1", "image": in_base64(), "question": "Is it red?", "answer": "Yes"}
    exam = open_exam(table(tmp_path / "Yes.tsv", [row]))
    assert exam.metrics == (YesNo(), ExactMatch())
    (tmp_path / "a.png").write_bytes(encode(picture(), ".png"))
    paths = {"index": "1", "image_path": "['a.png', 'a.png']", "question": "?", "answer": "seven"}
    exam = open_exam(table(tmp_path / "Open.tsv", [paths]))
    assert exam.metrics == (ExactMatch(),)
    (question,) = exam.asked()
    assert len(list(question.conversation.media())) == 2


def test_other_tables_are_refused_with_what_they_lack(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'answer'; it has index, question"):
        open_exam(table(tmp_path / "no.tsv", [{"index": "1", "question": "?"}]))
    with pytest.raises(DataError, match="no file"):
        open_exam(Origin(kind="vlmevalkit", name="x", place=str(tmp_path / "x.tsv")))
