from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.chat.readers.rows import read, rows_of, transcript

from hocket._errors import ReaderError

ROWS = rows_of("ovis")
HI = {"from": "human", "value": "Hi"}
HO = {"from": "gpt", "value": "Ho"}


def test_rows_are_read(data: Path) -> None:
    found = [transcript(read("ovis", row, data), data) for row in ROWS]
    frames = "walk/frame_0.png walk/frame_1.png walk/frame_2.png walk/frame_10.png"
    assert found == [
        [
            ("system", "Think."),
            ("user", "{coco/a.png}\nWhat do you see?"),
            ("assistant", "<think>\nA cat?\n</think>\n\nA cat."),
        ],
        [
            ("user", "What moves?\n{coco/a.png coco/b.png}"),
            ("assistant", '<tool_call>\n{"name": "look"}\n</tool_call>'),
            ("user", "And?"),
            ("-assistant", "No."),
            ("user", "Sure?"),
            ("assistant", "Yes."),
        ],
        [("user", "{coco/a.png}{coco/b.png coco/a.png}"), ("assistant", "Both.")],
        [("user", f"{{{frames}}}Where?"), ("assistant", "Home.")],
        [("user", "Hi {coco/b.png}"), ("assistant", "Hello")],
    ]


def test_a_wrapped_row_keeps_its_keys_and_those_around_it(data: Path) -> None:
    conversation = read("ovis", ROWS[4] | {"version": 2}, data)
    assert (conversation.id, conversation.meta) == ("wrapped", {"task": "see", "version": 2})


def test_video_frames_are_frames_whatever_their_files_are_called(data: Path) -> None:
    (data / "f0").write_bytes(b"x")
    row = {"video_frames": ["f0", "f0"], "conversations": [HI, HO]}
    assert transcript(read("ovis", row, data), data)[0] == ("user", "{f0 f0}\nHi")
    row = {"video": [["coco/a.png"], ["coco/b.png"]], "conversations": [HI, HO]}
    assert transcript(read("ovis", row, data), data)[0] == (
        "user",
        "{coco/a.png}\n{coco/b.png}\nHi",
    )


BAD: list[tuple[dict[str, Any], str]] = [
    ({"conversations": [ROWS[0], ROWS[1]]}, ": 'conversations' holds 2 rows, expected the turns"),
    (
        ROWS[1] | {"video_frames": ["x"]},
        " (id 'frames'): both 'video' and 'video_frames' are given",
    ),
    (ROWS[0] | {"image": []}, " (id 'think'): 1 <image> placeholder but 0 images. Edit the row"),
    ({"video_frames": [["f0"]], "conversations": [HI, HO]}, ": 'video_frames' holds the list"),
    ({"conversations": [HI, {"from": "observation", "value": "x"}]}, ": conversations[1].from is"),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_bad_rows(row: dict[str, Any], message: str, data: Path) -> None:
    with pytest.raises(ReaderError) as caught:
        read("ovis", row, data)
    assert str(caught.value).startswith(f"data.json row 41{message}")
