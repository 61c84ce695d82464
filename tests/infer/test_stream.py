"""Text comes in whole characters, without stop texts, and is the whole in the end."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toy import toy

from hocket.infer.stream import TextStream, decode, token_bytes

WORDS = toy().processor.tokenizer
TEXT = st.text(alphabet="ab .\u00e9\u4e2d\U0001f600", max_size=25)
STOPS = st.lists(st.text(alphabet="ab .\u00e9\U0001f600", min_size=1, max_size=4), max_size=3)


def pieces_of(ids: list[int], stops: list[str]) -> tuple[list[str], TextStream]:
    stream = TextStream(WORDS, stops)
    pieces = []
    for token in ids:
        pieces.append(stream.add(token))
        if stream.stopped:
            break
    pieces.append(stream.end())
    return pieces, stream


@settings(deadline=None, max_examples=200)
@given(TEXT, STOPS)
def test_any_text_is_cut_at_its_first_stop_text(text: str, stops: list[str]) -> None:
    ids = WORDS(text, add_special_tokens=False)["input_ids"]
    pieces, stream = pieces_of(ids, stops)
    assert "".join(pieces) == stream.text
    assert all("\ufffd" not in piece for piece in pieces)
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    assert stream.stopped == bool(ends)
    if not ends:
        assert stream.text == text
    else:
        assert text.startswith(stream.text)
        assert not any(stop in stream.text for stop in stops)
        assert any(text.startswith(stop, len(stream.text)) for stop in stops)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(6, len(WORDS) - 1), max_size=40))
def test_any_tokens_give_what_they_are_together(ids: list[int]) -> None:
    pieces, stream = pieces_of(ids, [])
    assert "".join(pieces) == stream.text == decode(WORDS, ids)
    assert b"".join(token_bytes(WORDS, one) for one in ids).decode(errors="replace") == stream.text


def test_the_beginning_of_a_stop_text_is_held_back() -> None:
    stream = TextStream(WORDS, ["xyz"])
    ids = [WORDS(letter, add_special_tokens=False)["input_ids"][0] for letter in "axyxyz!"]
    assert [stream.add(one) for one in ids[:-1]] == ["a", "", "", "xy", "", ""]
    assert stream.stopped and stream.end() == "" and stream.text == "axy"


@pytest.mark.parametrize("text", ["\u00e9", "\U0001f600"])
def test_half_a_character_comes_out_only_at_the_end(text: str) -> None:
    ids = WORDS(text, add_special_tokens=False)["input_ids"]
    assert len(ids) > 1
    stream = TextStream(WORDS)
    assert [stream.add(one) for one in ids[:-1]] == [""] * (len(ids) - 1)
    assert stream.end() == "\ufffd"
