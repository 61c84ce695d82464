"""Questions are answered in memory, in their own order, and counted right."""

from __future__ import annotations

from typing import cast

import pytest
from tests.eval.scripted import ScriptedEngine
from tests.eval.test_question import asked

from hocket._errors import DataError
from hocket.chat.conversation import Conversation
from hocket.eval.interval import share
from hocket.eval.metrics.exact_match import normalise
from hocket.eval.scored import accuracy, accuracy_by, evaluate
from hocket.infer.engine import Engine


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


def test_answers_stand_in_the_order_of_the_questions() -> None:
    def script(question: Conversation) -> str:
        if question.id == "2":
            raise DataError("cannot be asked.")
        return "Red!"

    questions = [
        asked("0", "red", "?"),
        asked("1", "blue", "?", task="other"),
        asked("2", "red", "?"),
        asked("3", "red", "?"),
        *(asked(str(at), "red", "?") for at in range(4, 9)),
    ]
    engine = cast(Engine, ScriptedEngine(script))
    calls: list[tuple[int, int]] = []
    found = evaluate(engine, questions, progress=lambda done, every: calls.append((done, every)))
    assert [one.question for one in found] == questions
    assert [one.right for one in found] == [True, False, False, *[True] * 6]
    assert found[2].answer == ""
    assert calls[-1] == (9, 9)
    assert accuracy(found) == share(7, 9)
    assert list(accuracy_by(found, lambda question: question.task).items()) == [
        ("colour", share(7, 8)),
        ("other", share(0, 1)),
    ]
    assert evaluate(engine, []) == []
