"""Words to steps and back, against NaVILA's own parser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hocket.nav.codec import Decision, Grammar, merge, read_answer, sentence
from hocket.nav.environment import NavAction

GOLDEN = Path(__file__).parents[1] / "golden" / "pure_navila" / "actions.json"
VECTORS = json.loads(GOLDEN.read_text(encoding="utf-8"))["vectors"]


@pytest.mark.parametrize("vector", VECTORS, ids=[one["text"] or "empty" for one in VECTORS])
def test_answers_are_read_as_navila_reads_them(vector: dict[str, Any]) -> None:
    found = read_answer(vector["text"])
    if vector["action"] is None:
        assert found is None
    else:
        assert found == Decision(NavAction(vector["action"]), 1 + len(vector["queued"]))


def test_every_sentence_is_read_back_by_both_grammars() -> None:
    decisions = [Decision(NavAction.STOP)]
    decisions += [Decision(action, count) for action in list(NavAction)[1:] for count in (1, 2, 3)]
    assert len({sentence(one) for one in decisions}) == 10
    for one in decisions:
        assert read_answer(sentence(one)) == one
        assert read_answer(f" {sentence(one)}\n", Grammar.STRICT) == one


@pytest.mark.parametrize("text", ["stop", "The next action is move forward 100 cm.", ""])
def test_strict_takes_nothing_else(text: str) -> None:
    assert read_answer(text, Grammar.STRICT) is None


def test_what_has_no_sentence_is_refused() -> None:
    with pytest.raises(ValueError, match="FORWARD x 4 has no sentence"):
        sentence(Decision(NavAction.FORWARD, 4))
    with pytest.raises(ValueError, match="STOP x 2"):
        sentence(Decision(NavAction.STOP, 2))


def test_equal_steps_are_one_decision() -> None:
    forward, left, stop = NavAction.FORWARD, NavAction.LEFT, NavAction.STOP
    assert merge([forward] * 5) == Decision(forward, 3)
    assert merge([left, left, forward]) == Decision(left, 2)
    assert merge([stop, stop]) == Decision(stop, 1)
