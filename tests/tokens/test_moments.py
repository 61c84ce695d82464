from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.toy import SPEC, TEXTS, assistant, talk, user

from hocket._errors import ConfigError, DataError
from hocket.chat.conversation import Text
from hocket.model.build import build
from hocket.model.spec import TokenizerSpec
from hocket.tokens.moments import moment, seconds_of


@given(st.floats(0, 1), st.floats(0.1, 5000), st.integers(2, 300))
def test_a_moment_is_found_again_to_half_a_step(share: float, length: float, count: int) -> None:
    seconds = share * length
    token = moment(seconds, of_seconds=length, count=count)
    (found,) = seconds_of(token, of_seconds=length, count=count)
    assert abs(found - seconds) <= length / (count - 1) / 2 + 1e-6


def test_the_ends_are_the_first_and_the_last_token() -> None:
    assert moment(0, of_seconds=8, count=100) == "<t0>"
    assert moment(8, of_seconds=8, count=100) == "<t99>"
    assert seconds_of("from <t0> to <t99>, not <t100>", of_seconds=8, count=100) == [0.0, 8.0]
    for seconds, length in ((-1, 8), (9, 8), (0, 0)):
        with pytest.raises(DataError, match="no moment of a video"):
            moment(seconds, of_seconds=length, count=100)


def test_a_model_writes_a_moment_as_one_learned_token() -> None:
    spec = replace(SPEC, tokenizer=TokenizerSpec(vocab_size=300, moments=10))
    model, processor = build(spec, TEXTS * 3)
    outline = processor.measure(talk(user(Text("When?")), assistant("At <t3>.")))
    three = processor.tokenizer.convert_tokens_to_ids("<t3>")
    assert outline.labels.count(three) == 1
    assert model.config.text_config.vocab_size == len(processor.tokenizer) > three
    with pytest.raises(ConfigError, match=r"moments is 1, expected 0 or at least 2"):
        build(replace(SPEC, tokenizer=TokenizerSpec(moments=1)), TEXTS * 3)
