from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.chat.readers.rows import read, rows_of, transcript

from hocket._errors import ReaderError

ROWS = {row["id"]: row for row in rows_of("sharegpt")}


def test_rows_are_read(data: Path) -> None:
    found = {name: transcript(read("sharegpt", row, data), data) for name, row in ROWS.items()}
    call = '<tool_call>\n{"name": "%s", "arguments": %s}\n</tool_call>'
    assert found == {
        "tools": [
            ("system", "Be brief."),
            ("user", "{coco/a.png}How many?"),
            ("assistant", "I count.\n" + call % ("count", '{"of": "\u4e2d"}')),
            ("tool", "3 {coco/b.png}"),
            ("assistant", "Three <image>."),
        ],
        "swift": [
            ("system", "S"),
            ("user", "{audio/a.wav}{clips/a.mp4}\nWho? {coco/a.png}"),
            ("-assistant", "Wait"),
            ("user", "Well?"),
            ("assistant", call % ("a", "{}") + "\n" + call % ("b", "{}")),
            ("tool", "1"),
            ("tool", "2"),
            ("+assistant", "A child."),
        ],
        "text": [("user", "Hi"), ("assistant", "Ho")],
    }


def test_tools_and_keys_of_turns_are_kept(data: Path) -> None:
    assert read("sharegpt", ROWS["tools"], data).tools == ({"name": "count", "parameters": {}},)
    assert read("sharegpt", ROWS["text"], data).tools == ()
    meta = read("sharegpt", ROWS["swift"], data).meta
    assert meta == {"rejected_response": "no", "messages": {"1": {"name": "Bo"}}}


def talk(*turns: tuple[str, Any]) -> dict[str, Any]:
    return {"id": "x", "messages": [{"role": who, "content": what} for who, what in turns]}


USER, CALL, TOOL = ("user", "Hi"), ("tool_call", '{"name": "f"}'), ("tool", "1")
BAD: list[tuple[dict[str, Any], str]] = [
    ({"id": "x"}, "no key 'conversations' or 'messages' (found: 'id')"),
    (ROWS["text"] | {"id": "x", "conversations": []}, "both 'conversations' and 'messages'"),
    (talk(USER, ("tool_call", "f()")), "messages[1].content is 'f()', expected JSON"),
    (talk(USER, ("tool_call", "{}")), "messages[1].content holds nothing, expected a call with"),
    (talk(USER, ("tool_call", "[]")), "messages[1].content is an empty list, expected a call"),
    (
        talk(USER, ("tool_call", '{"name": "f", "arguments": "{"}')),
        "messages[1].content.arguments is '{', expected JSON",
    ),
    (talk(USER, TOOL), "messages[1].role is 'tool' right after the question, expected a call"),
    (talk(USER, CALL, TOOL, USER), "messages[3].role is 'user' right after a tool's result"),
    (
        talk(USER, CALL, ("assistant", "Ho")),
        "messages[2].role is 'assistant', like the turn before",
    ),
    (talk(USER, ("assistant", [{"type": "text"}])), "messages[1] holds parts or 'tool_calls'"),
    (talk(("system", "S"), USER) | {"system": "T"}, "both 'system' and a system turn are given"),
    (talk(USER) | {"system": 5}, "'system' is a number (5), expected text"),
    (talk(USER) | {"tools": "x"}, "'tools' is 'x', expected JSON (JSONDecodeError)"),
    (talk(USER) | {"tools": {"name": "f"}}, "'tools' is an object, expected a list of schemas"),
    (talk(USER) | {"tools": ["f"]}, "'tools'[0] is text ('f'), expected an object"),
    (talk(USER, CALL, ("tool", "<image>")), "1 <image> placeholder but 0 images"),
    (
        {"id": "x", "messages": [{"role": "user", "content": "Hi", "loss": "no"}]},
        "messages[0].loss is 'no', expected true or false",
    ),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_bad_rows(row: dict[str, Any], message: str, data: Path) -> None:
    with pytest.raises(ReaderError) as caught:
        read("sharegpt", row, data)
    assert str(caught.value).startswith(f"data.json row 41 (id 'x'): {message}")
