from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toy import TEXTS, toy
from transformers import PreTrainedTokenizerFast

from hocket.tokens.tokenizer import AUDIO, CONTROL, IMAGE, VIDEO, build_tokenizer
from hocket.tokens.tokenizer import ensure_control_tokens as ensure


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives(text: str) -> None:
    tokenizer = toy().processor.tokenizer
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_frequent_words_are_one_token() -> None:
    tokenizer = build_tokenizer(["elephants everywhere"] * 5, vocab_size=400)
    assert len(tokenizer(" everywhere")["input_ids"]) == 1


@pytest.mark.parametrize("token", CONTROL)
def test_control_tokens_are_special(token: str) -> None:
    tokenizer = build_tokenizer(TEXTS, vocab_size=300)
    ids = tokenizer(token)["input_ids"]
    assert ids == [CONTROL.index(token)]
    assert tokenizer.decode(ids, skip_special_tokens=True) == ""


def test_placeholders_are_added_once_to_a_foreign_tokenizer() -> None:
    made = build_tokenizer(TEXTS, vocab_size=300).backend_tokenizer
    document = made.to_str().replace('"<image>"', '"<im>"').replace('"<audio>"', '"<au>"')
    foreign = PreTrainedTokenizerFast(tokenizer_object=type(made).from_str(document))
    before = len(foreign)
    assert ensure(foreign) == len(foreign) - before == 2
    assert ensure(foreign) == 0
    for token in (IMAGE, VIDEO, AUDIO):
        assert foreign(f"a{token}b")["input_ids"].count(foreign.convert_tokens_to_ids(token)) == 1
    assert foreign.pad_token is not None
