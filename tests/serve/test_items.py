"""Items of ``/v1/responses`` become the turns that chats have."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("fastapi")

from hocket.serve.errors import ApiError
from hocket.serve.items import as_chat
from hocket.serve.wire.responses import ResponseRequest


def call(number: int) -> dict[str, Any]:
    return {"type": "function_call", "name": "f", "arguments": f'{{"x": {number}}}'}


def result(text: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": "c", "output": text}


def test_an_answer_with_its_calls_is_one_turn_again() -> None:
    said = {"type": "message", "role": "assistant", "content": "Let me see."}
    items = [
        {"role": "user", "content": "Paint!"},
        {"type": "reasoning", "summary": []},
        said,
        call(1),
        call(2),
        result("one"),
        result("two"),
        call(3),
        result("three"),
    ]
    chat, places = as_chat(ResponseRequest(input=items, instructions="Be brief."))
    assert [(one.role, len(one.tool_calls or ())) for one in chat.messages] == [
        ("system", 0),
        ("user", 0),
        ("assistant", 2),
        ("tool", 0),
        ("tool", 0),
        ("assistant", 1),
        ("tool", 0),
    ]
    assert chat.messages[2].content == "Let me see."
    numbers = (0, 2, 5, 6, 7, 8)
    assert places == ["instructions", *(f"input[{number}]" for number in numbers)]


def test_a_bad_call_is_named_by_its_own_item() -> None:
    items = [{"role": "user", "content": "x"}, call(1), call(2) | {"arguments": "{"}]
    with pytest.raises(ApiError, match=r"input\[2\]\.arguments is .*, expected JSON") as caught:
        as_chat(ResponseRequest(input=items))
    assert caught.value.param == "input[2]"
