"""Questions are answered in their own order and counted right."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.train.toy_run import build_model, data_spec, write_rows

from hocket.data.mixture import open_source
from hocket.eval.interval import share
from hocket.eval.metrics.exact_match import normalise
from hocket.eval.question import Question, questions_of
from hocket.eval.run import Scored, accuracy, accuracy_by, evaluate
from hocket.infer.engine import Engine
from hocket.infer.sampling import Sampling


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Red.", "red"),
        ("  It is\n 4! ", "it is 4"),
        ('"two, three"', "two, three"),
        ("3.5", "3.5"),
        ("-4", "-4"),
        ("Really?!", "really"),
        ("", ""),
    ],
)
def test_normalise(text: str, plain: str) -> None:
    assert normalise(text) == plain


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


def test_results_stand_in_the_order_of_the_questions(folder: Path) -> None:
    model, processor = build_model(folder)
    engine = Engine(model.eval(), processor)
    source = open_source("media", data_spec(folder).datasets["media"])
    questions = list(questions_of(source[row] for row in range(len(source))))
    assert len({question.modality for question in questions}) == 4
    calls: list[tuple[int, int]] = []
    results = evaluate(
        engine,
        questions,
        batch=8,
        max_new_tokens=3,
        progress=lambda done, every: calls.append((done, every)),
    )
    assert [one.question for one in results] == questions
    assert calls == [(8, len(questions)), (16, len(questions)), (len(questions), len(questions))]
    alone = Sampling(max_new_tokens=3)
    for one in results:
        assert one.answer == engine.answer([one.question.conversation], alone)[0].text
        assert one.right is (normalise(one.answer) == normalise(one.question.target))
    assert evaluate(engine, []) == []


def test_right_answers_are_counted_by_group(folder: Path) -> None:
    source = open_source("media", data_spec(folder).datasets["media"])
    questions = list(questions_of([source[0], source[2], source[6]]))
    assert [question.task for question in questions] == ["colour", "pitch", "colour"]
    scored = [
        Scored(question, "x", right)
        for question, right in zip(questions, (True, False, False), strict=True)
    ]
    assert accuracy(scored) == share(1, 3)

    def task(question: Question) -> str:
        return question.task

    assert list(accuracy_by(scored, task).items()) == [
        ("colour", share(1, 2)),
        ("pitch", share(0, 1)),
    ]
