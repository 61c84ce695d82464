from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.chat.readers.rows import read, rows_of, transcript

from hocket._errors import ReaderError

ROWS = {row["id"]: row for row in rows_of("caption")}


def test_rows_are_read(data: Path) -> None:
    found = {name: transcript(read("caption", row, data), data) for name, row in ROWS.items()}
    learned = found["video"][1][1]
    assert learned in ROWS["video"]["captions"]
    assert found == {
        "image": [("user", "{coco/a.png}"), ("assistant", "a red <image> chair\n")],
        "audio": [("user", "{audio/a.wav}\nWhat is said?"), ("assistant", "open the door")],
        "video": [("user", "{clips/a.mp4}"), ("assistant", learned)],
        "several": [
            ("user", "Is {coco/a.png} like {audio/b.flac} or {coco/b.png}?"),
            ("assistant", "both"),
        ],
    }
    meta = read("caption", ROWS["video"], data).meta
    assert meta == {"captions": ROWS["video"]["captions"], "split": 1}


def test_a_prompt_of_the_data_set_gives_way_to_that_of_the_row(data: Path) -> None:
    asked = [
        transcript(read("caption", ROWS[name], data, prompt="Describe."), data)[0][1]
        for name in ("image", "audio")
    ]
    assert asked == ["{coco/a.png}\nDescribe.", "{audio/a.wav}\nWhat is said?"]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"id": "x", "caption": "a"}, "no 'image', 'audio' or 'video' (found: 'id', 'caption')"),
    ({"id": "x", "image": "coco/a.png"}, "no key 'caption' or 'captions' or 'text' (found:"),
    ({"id": "x", "image": "coco/a.png", "text": ""}, "'text' is empty, expected an answer"),
    ({"id": "x", "image": "coco/a.png", "text": "a", "caption": "b"}, "both 'caption' and 'text'"),
    (
        {"id": "x", "image": "coco/a.png", "text": "a", "prompt": "<image><image>"},
        "2 <image> placeholders but 1 image",
    ),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_bad_rows(row: dict[str, Any], message: str, data: Path) -> None:
    with pytest.raises(ReaderError) as caught:
        read("caption", row, data)
    assert str(caught.value).startswith(f"data.json row 41 (id 'x'): {message}")
