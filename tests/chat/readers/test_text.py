from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.chat.readers.rows import read, rows_of, transcript

from hocket._errors import ReaderError

ROWS = rows_of("text")


def test_rows_are_read(data: Path) -> None:
    assert [transcript(read("text", row, data), data) for row in ROWS] == [
        [("user", ""), ("assistant", "Once upon a <image>\n")],
        [("system", "Be brief."), ("user", "2 + 3?"), ("assistant", "5")],
        [
            ("user", "perro"),
            ("assistant", "dog"),
            ("user", "pez"),
            ("assistant", "fish"),
            ("user", "Translate.\ngato"),
            ("assistant", "cat"),
        ],
        [("user", "{coco/a.png}Who?"), ("assistant", "Bo")],
        [("user", "Why?"), ("assistant", "So.")],
    ]
    assert read("text", ROWS[0], data).meta == {"url": "x"}
    assert read("text", ROWS[4], data).id == "41"


PAIR = {"id": "x", "prompt": "a", "response": "b"}
BAD: list[tuple[dict[str, Any], str]] = [
    ({"id": "x"}, "no key 'text' or 'prompt' or 'instruction' or 'query' or 'question'"),
    ({"id": "x", "text": " "}, "'text' is empty, expected an answer"),
    (
        {"id": "x", "text": "a", "image": "coco/a.png"},
        "'text' beside a medium, expected text alone",
    ),
    ({"id": "x", "prompt": "a"}, "no key 'response' or 'output' or 'completion' or 'answer'"),
    (PAIR | {"output": "c"}, "both 'response' and 'output' are given"),
    (PAIR | {"prompt": "<image>"}, "1 <image> placeholder but 0 images"),
    (PAIR | {"history": "c"}, "'history' is text, expected a list of pairs"),
    (PAIR | {"history": [["c"]]}, "'history'[0] is a list, expected a question and its answer"),
    (PAIR | {"history": [["c", ""]]}, "'history'[0][1] is empty, expected an answer"),
    (PAIR | {"input": 5}, "'input' is a number (5), expected text"),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_bad_rows(row: dict[str, Any], message: str, data: Path) -> None:
    with pytest.raises(ReaderError) as caught:
        read("text", row, data)
    assert str(caught.value).startswith(f"data.json row 41 (id 'x'): {message}")
