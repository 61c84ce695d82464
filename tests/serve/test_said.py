"""Thought, text and calls are told apart, in the same way whole and piece by piece."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hocket.serve.said import Voice, whole

CALL = '<tool_call>\n{"name": "paint", "arguments": {"colour": "red"}}\n</tool_call>'
SAMPLES = (
    "plain",
    " <b> is no tag",
    "<think>hm</think>\n\nyes",
    "<think>\nhm\n</think>",
    "<think>never ends",
    "<thin",
    f"Wait.\n{CALL}",
    f"{CALL}\n{CALL}",
    f"<think>hm</think>{CALL}",
    "<tool_call>no json</tool_call>",
    "",
)


def test_a_thought_is_no_text() -> None:
    said = whole("<think>\nhm\n</think>\n\nyes ", Voice())
    assert (said.thought, said.text) == ("hm", "yes ")
    said = whole("hm</think>yes", Voice(thinks=True))
    assert (said.thought, said.text) == ("hm", "yes")
    assert whole("hm</think>yes", Voice()).text == "hm</think>yes"
    said = whole("<think>\nhm</think>yes", Voice(thinks=True))
    assert (said.thought, said.text) == ("hm", "yes")


def test_calls_are_no_text_where_tools_are_offered() -> None:
    voice = Voice(tools=True)
    said = whole(f"Wait.\n{CALL}\n{CALL}", voice)
    assert said.text == "Wait."
    assert [one.name for one in said.calls] == ["paint", "paint"]
    assert voice.called == 2
    assert whole(CALL, Voice()).text == CALL


def test_one_call_where_a_request_wants_one() -> None:
    assert len(whole(f"{CALL}\n{CALL}", Voice(tools=True, one_call=True)).calls) == 1


@pytest.mark.parametrize("text", SAMPLES)
@pytest.mark.parametrize("thinks", [False, True])
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_pieces_say_what_the_whole_says(text: str, thinks: bool, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    edges = [0, *cuts, len(text)]
    voice = Voice(tools=True, thinks=thinks)
    parts = [voice.feed(text[a:b]) for a, b in pairwise(edges)]
    parts.append(voice.end())
    expected = whole(text, Voice(tools=True, thinks=thinks))
    assert "".join(one.thought for one in parts).strip() == expected.thought
    assert "".join(one.text for one in parts).strip() == expected.text.strip()
    found = [call for one in parts for call in one.calls]
    assert tuple(found) == expected.calls
