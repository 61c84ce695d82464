from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.chat.readers.rows import read, rows_of, transcript

from hocket._errors import ReaderError

ROWS = {row["id"]: row for row in rows_of("dpo")}
HI = {"role": "user", "content": "Hi"}
HO = {"role": "assistant", "content": "Ho"}


def test_rows_are_read(data: Path) -> None:
    found = {name: transcript(read("dpo", row, data), data) for name, row in ROWS.items()}
    short = [("user", "Hi"), ("assistant", "Ho")]
    assert found == {
        "vila": [("user", "{clips/a.mp4}\nWhat happens?"), ("assistant", "A car.")],
        "factory": [("system", "S"), ("user", "{coco/a.png}Who?"), ("assistant", "Bo")],
        "trl": short,
        "whole": short,
        "implicit": short,
    }


def test_the_rejected_answer_is_kept(data: Path) -> None:
    meta = {name: dict(read("dpo", row, data).meta) for name, row in ROWS.items()}
    assert meta == {
        "vila": {"rejected": "A bus."},
        "factory": {
            "chosen": {"0": {"score": 3}},
            "rejected_turns": {"0": {"score": 1}},
            "rejected": "Al",
        },
        "trl": {"by": "me", "rejected": "No"},
        "whole": {"rejected": "No"},
        "implicit": {"rejected": "No"},
    }


PAIR = {"id": "x", "prompt": "a", "chosen": "b", "rejected": "c"}
BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"id": "x", "prompt": "a", "chosen": "b"},
        "no key 'rejected' (found: 'id', 'prompt', 'chosen')",
    ),
    (
        {"id": "x", "rejected": "a", "chosen": "b"},
        "no question (found: 'id', 'rejected', 'chosen')",
    ),
    (PAIR | {"chosen": " "}, "'chosen' is empty, expected an answer"),
    (PAIR | {"rejected": 5}, "'rejected' is a number (5), expected text"),
    (PAIR | {"chosen": [HI]}, "chosen[0].role is 'user', expected the assistant to have the last"),
    (PAIR | {"chosen": [HI, HO]}, "'chosen' repeats another dialogue than 'prompt', expected"),
    (
        {"id": "x", "chosen": [HI, HO], "rejected": [HI | {"content": "He"}, HO]},
        "'rejected' repeats",
    ),
    (PAIR | {"prompt": [HI, HO]}, "'chosen', like the turn before"),
    (PAIR | {"image": "coco/a.png", "prompt": "<image><image>"}, "2 <image> placeholders but 1"),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_bad_rows(row: dict[str, Any], message: str, data: Path) -> None:
    with pytest.raises(ReaderError) as caught:
        read("dpo", row, data)
    assert str(caught.value).startswith(f"data.json row 41 (id 'x'): {message}")
