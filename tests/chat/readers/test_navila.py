from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.chat.readers.rows import read, rows_of, transcript

from hocket._errors import ConfigError, MediaError, ReaderError
from hocket.chat.conversation import Text
from hocket.media.image import Image

ROWS = rows_of("navila")
WALK = ROWS[0]
GOLDEN = Path(__file__).parents[2] / "golden" / "pure_navila" / "vlnce_prompt.json"
RECORDED: dict[str, Any] = json.loads(GOLDEN.read_text("utf-8"))


def question(row: dict[str, Any], data: Path, **options: Any) -> str:
    """Return the question with every picture written as NaVILA's placeholder."""
    parts = read("navila", row, data, **options).messages[0].parts
    return "".join(part.text if isinstance(part, Text) else "<image>" for part in parts)


@pytest.mark.parametrize("vector", RECORDED["vectors"], ids=lambda one: one["q"][:12])
@pytest.mark.parametrize("steps", [1, 8, 11])
def test_the_question_is_recorded(vector: dict[str, Any], steps: int, data: Path) -> None:
    row = {"video_id": "v", "frames": ["coco/a.png"] * steps, "q": vector["q"], "a": "stop"}
    human, _ = vector["conversation"]
    assert question(row, data, frames=RECORDED["num_frames"]) == human["value"]


def test_a_walk_shows_its_newest_frame_last_and_the_past_before_it(data: Path) -> None:
    conversation = read("navila", WALK, data, frames=3)
    asked = transcript(conversation, data)[0][1]
    assert "observations {walk/frame_0.png}\n{walk/frame_2.png}\n, and current" in asked
    assert "current observation {walk/frame_2.png}\n. Your" in asked
    assert conversation.meta == {
        "frames": WALK["frames"],
        "q": WALK["q"],
        "video_id": "12-3",
    }
    assert conversation.id == "12-3"


def test_a_short_walk_begins_with_black_pictures(data: Path) -> None:
    media = list(read("navila", WALK | {"frames": ["coco/a.png"]}, data, frames=3).media())
    assert all(isinstance(one, Image) for one in media)
    black = [one.pixels for one in media if isinstance(one, Image) and one.pixels is not None]
    assert [pixels.shape for pixels in black] == [(448, 448, 3)] * 2
    assert not np.any(black)
    assert media[2].where.path == data / "coco/a.png"


def test_an_instruction_may_stay_as_it_is(data: Path) -> None:
    conversation = read("navila", WALK, data, clean=False)
    assert f'task is: "{WALK["q"]}" Analyze' in transcript(conversation, data)[0][1]
    assert "q" not in conversation.meta


def test_tours_and_questions(data: Path) -> None:
    tour = (
        "Assume you are a robot designed for navigation. You are provided with captured images "
        "sequences {%s}. Based on this image sequence, please describe the navigation trajectory "
        "of the robot."
    )
    found = [transcript(read("navila", row, data), data) for row in ROWS[1:]]
    assert found == [
        [("user", tour % "clips/a.mp4"), ("assistant", "Go past the table .")],
        [("user", tour % "walk/frame_0.png walk/frame_1.png"), ("assistant", "Go home.")],
        [("user", "{clips/a.mp4}\nWhat is beside the bin?"), ("assistant", "desk")],
        [("user", "{coco/a.png coco/b.png}\nWhat?"), ("assistant", found[3][1][1])],
        [("user", "What is near? {coco/a.png}"), ("assistant", "a red chair")],
    ]
    assert found[3][1][1] in ROWS[4]["a"]
    assert read("navila", ROWS[1], data).meta == {"scene": 4}


BAD: list[tuple[dict[str, Any], str]] = [
    (WALK | {"a": " "}, " (id '12-3'): 'a' is empty, expected an answer"),
    (WALK | {"q": None}, " (id '12-3'): no key 'q' (found: 'video_id', 'frames', 'q', 'a')"),
    (WALK | {"frames": []}, " (id '12-3'): 'frames' is a list without paths, expected the"),
    (WALK | {"frames": [5]}, " (id '12-3'): 'frames' holds a number (5), expected a path"),
    ({"instruction": "Go."}, ": 0 videos, expected one under 'video', 'video_id' or 'frames'"),
    (
        {"instruction": "Go.", "video": "a.mp4", "frames": ["b.png"]},
        ": both 'frames' and 'video' are given, expected one of them",
    ),
    ({"id": "x"}, " (id 'x'): no key 'conversations' or 'q' or 'captions'"),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_bad_rows(row: dict[str, Any], message: str, data: Path) -> None:
    with pytest.raises(ReaderError) as caught:
        read("navila", row, data)
    assert str(caught.value).startswith(f"data.json row 41{message}")


def test_a_missing_frame_and_a_wrong_number_of_frames(data: Path) -> None:
    with pytest.raises(MediaError, match=r"row 41 \(id '12-3'\): no file .*c\.png"):
        read("navila", WALK | {"frames": ["coco/c.png"]}, data)
    with pytest.raises(ConfigError, match="frames"):
        read("navila", WALK, data, frames=0)
