"""A preference as two samples of one row."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.toy import assistant, picture, talk, toy, user

from hocket._errors import DataError
from hocket.chat.conversation import Conversation
from hocket.data.budget import UNCUT, Budget
from hocket.data.pair import fit_pair, pair_of, with_both_answers
from hocket.data.truncate import OverlongError
from hocket.tokens.example import IGNORED

RED = talk(
    user(picture(1), "\nHello."),
    assistant("Hello to you."),
    user("Which colour?"),
    assistant("A red square."),
)


def preference(rejected: object = "Blue.", one: Conversation = RED) -> Conversation:
    return replace(one, meta={"rejected": rejected})


def learned(ids: list[int], labels: list[int]) -> str:
    kept = [token for token, label in zip(ids, labels, strict=True) if label != IGNORED]
    return toy().processor.tokenizer.decode(kept)


def test_only_the_last_answers_are_learned() -> None:
    found = fit_pair(pair_of(preference()), toy().processor, Budget(500))
    chosen, rejected = found.chosen.outline, found.rejected
    assert learned(chosen.input_ids, chosen.labels).startswith("A red square.")
    assert learned(rejected.input_ids, rejected.labels).startswith("Blue.")
    asked = next(at for at, label in enumerate(chosen.labels) if label != IGNORED)
    assert chosen.input_ids[:asked] == rejected.input_ids[:asked]
    assert chosen.plans == rejected.plans
    assert found.chosen.cuts == UNCUT


@pytest.mark.parametrize("rejected", [None, "", "  ", 3])
def test_a_row_without_a_rejected_answer_is_named(rejected: object) -> None:
    with pytest.raises(DataError, match=r"toy.json row talk: no rejected answer .* reader: dpo"):
        pair_of(preference(rejected))


def test_an_answer_with_a_picture_is_named() -> None:
    drawn = talk(user("Draw."), assistant("Here: ", picture(2)))
    with pytest.raises(DataError, match="the chosen answer holds a medium"):
        pair_of(preference(one=drawn))


def test_words_are_never_cut() -> None:
    pair = pair_of(preference())
    whole = fit_pair(pair, toy().processor, Budget(500))
    both = whole.chosen.outline.cost + whole.rejected.cost
    fit_pair(pair, toy().processor, Budget(both.tokens, both.patches))
    with pytest.raises(OverlongError, match=f"take {both.tokens} tokens, .* are not cut"):
        fit_pair(pair, toy().processor, Budget(both.tokens - 4))


def test_an_augmentation_is_asked_of_both_answers() -> None:
    both = with_both_answers(preference("On the left."))
    assert both.messages[-1].text == "A red square.On the left."
    assert list(both.media()) == list(RED.media())
