"""Calls of tools are found in an answer, whole or in pieces, and nothing else is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hocket._errors import ConfigError
from hocket.infer.tools import ToolCall, ToolStream, call_grammar, split_tool_calls

ADD = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
CALL = ToolCall("add", '{"a": 1}')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No call.\n", ("No call.\n", ())),
        (ADD, ("", (CALL,))),
        (f"I add.\n{ADD}\n{ADD}", ("I add.", (CALL, CALL))),
        (ADD.removesuffix("\n</tool_call>"), ("", (CALL,))),
        ('<tool_call>{"name": "add", "arguments": "{\\"a\\": 1}"}</tool_call>', ("", (CALL,))),
        ('<tool_call>{"name": "add", "parameters": {"a": 1}}</tool_call>', ("", (CALL,))),
        ('<tool_call>{"name": "now"}</tool_call>', ("", (ToolCall("now", "{}"),))),
        ("<tool_call>{broken</tool_call>.", ("<tool_call>{broken</tool_call>.", ())),
        ('<tool_call>{"name": 3}</tool_call>', ('<tool_call>{"name": 3}</tool_call>', ())),
        ("<tool_call>[1]</tool_call>", ("<tool_call>[1]</tool_call>", ())),
        (
            '<tool_call>{"name": "x", "arguments": "no"}</tool_call>',
            ('<tool_call>{"name": "x", "arguments": "no"}</tool_call>', ()),
        ),
        ("a <tool_ b", ("a <tool_ b", ())),
    ],
)
def test_calls_in_a_text(text: str, expected: tuple[str, tuple[ToolCall, ...]]) -> None:
    assert split_tool_calls(text) == expected


@given(st.lists(st.integers(1, 9), max_size=60))
def test_pieces_of_any_size_give_the_same(sizes: list[int]) -> None:
    text = f"I <b>add</b> <tool{ADD} and {ADD}<tool_call>no</tool_call> <tool_c"
    stream, said, calls, at = ToolStream(), "", [], 0
    for size in [*sizes, len(text)]:
        more, found = stream.feed(text[at : at + size])
        said, at = said + more, at + size
        calls += found
    rest, found = stream.end()
    assert said + rest == "I <b>add</b> <tool and <tool_call>no</tool_call> <tool_c"
    assert [*calls, *found] == [CALL, CALL]


def test_a_tool_that_is_not_there() -> None:
    tools = [{"function": {"name": "add"}}]
    assert "add" in call_grammar(tools, name="add")
    with pytest.raises(ConfigError, match=r"no tool is called 'sub'. Known: add."):
        call_grammar(tools, name="sub")
