from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.chat.readers.rows import read, rows_of, transcript

from hocket._errors import ReaderError
from hocket.media.video import Video

ROWS = {row.get("id", row.get("question_id")): row for row in rows_of("vila")}
WALK = "walk/frame_0.png walk/frame_1.png walk/frame_2.png walk/frame_10.png"


def test_rows_are_read(data: Path) -> None:
    found = {name: transcript(read("vila", row, data), data) for name, row in ROWS.items()}
    answer = found["scan"][1][1]
    assert answer in ROWS["scan"]["a"]
    assert found == {
        "images": [("user", "{coco/a.png}\n{coco/b.png}\nCompare."), ("assistant", "5")],
        "list": [
            ("user", "{coco/a.png}\nSay"),
            ("assistant", "Hi"),
            ("user", "more"),
            ("assistant", "Ho"),
        ],
        "runs": [("user", "{clips/a.mp4}\nWhat?"), ("assistant", "That.")],
        "path": [("user", "{clips/a.mp4}\nWhat?"), ("assistant", "That.")],
        "q1": [("user", "{clips/a.mp4}\nWhere is the bin?"), ("assistant", "here")],
        "scan": [("user", f"{{{WALK}}}\nWhere is the bin?"), ("assistant", answer)],
        "captions": [
            (
                "user",
                "{clips/a.mp4}\n"
                "Elaborate on the visual and narrative elements of the video in detail.",
            ),
            ("assistant", "A day at sea."),
        ],
    }


def test_answers_and_captions_that_are_not_learned_stay_in_meta(data: Path) -> None:
    meta = {name: dict(read("vila", row, data).meta) for name, row in ROWS.items()}
    assert meta["scan"] == {"a": ["beside the door", "near it"], "fps": 2.5}
    assert meta["captions"] == {"captions": ROWS["captions"]["captions"]}
    assert meta["q1"] == {"fps": 2, "frame_count": 20, "question_id": "q1"}
    assert meta["path"] == {"video_id": "v7"}
    assert meta["images"] == meta["runs"] == {}


def test_the_row_decides_which_answer_is_learned(data: Path) -> None:
    answers = {
        name: transcript(read("vila", ROWS["scan"] | {"id": name}, data), data)[1][1]
        for name in map(str, range(40))
    }
    assert set(answers.values()) == set(ROWS["scan"]["a"])
    again = transcript(read("vila", ROWS["scan"] | {"id": "7"}, data), data)[1][1]
    assert again == answers["7"]


def test_frames_keep_their_rate(data: Path) -> None:
    (video,) = read("vila", ROWS["scan"], data).media()
    assert isinstance(video, Video)
    assert video.picture_fps == 2.5


def test_runs_of_images_beside_pictures_stay_images(data: Path) -> None:
    row = ROWS["runs"] | {"images": ["coco/a.png"] * 3}
    row["conversations"] = [
        {"from": "human", "value": "<image><image><image><video>"},
        {"from": "gpt", "value": 1.5},
    ]
    turns = transcript(read("vila", row, data), data)
    assert turns == [("user", "{coco/a.png}" * 3 + "{clips/a.mp4}"), ("assistant", "1.5")]


TURNS = ROWS["runs"]["conversations"]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"id": "x"}, "no key 'conversations' or 'q' or 'captions' (found: 'id')"),
    ({"id": "x", "video": "clips/a.mp4", "q": "Where?"}, "no key 'a' (found: 'id', 'video', 'q')"),
    ({"id": "x", "q": "Where?", "a": []}, "'a' is an empty list, expected an answer"),
    ({"id": "x", "q": "Where?", "a": ["b", " "]}, "'a'[1] is empty, expected an answer"),
    ({"id": "x", "q": 5, "a": "b"}, "'q' is a number (5), expected text"),
    (
        {"id": "x", "captions": [{"idx": "0", "content": "a"}]},
        '\'captions\' is a list that ends with {"idx": "0", "content": "a"}, expected',
    ),
    ({"id": "x", "captions": [{"idx": "-1"}]}, "captions[-1].content is null"),
    ({"id": "x", "q": "Where?", "a": "b", "fps": 0}, "'fps' is a number (0), expected a number"),
    (
        {"id": "x", "video": ["clips/a.mp4"] * 2, "conversations": TURNS},
        "3 <image> placeholders but 0 images",
    ),
    (
        {"id": "x", "video": "clips/a.mp4", "video_path": "b.mp4", "conversations": TURNS},
        "both 'video' and 'video_path' are given",
    ),
    ({"id": "x", "q": "<video><video>", "a": "b", "video_id": "v"}, "2 <video> placeholders but 1"),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_bad_rows(row: dict[str, Any], message: str, data: Path) -> None:
    with pytest.raises(ReaderError) as caught:
        read("vila", row, data)
    assert str(caught.value).startswith(f"data.json row 41 (id 'x'): {message}")
