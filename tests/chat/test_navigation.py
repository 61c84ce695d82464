from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hocket.chat.conversation import Text
from hocket.chat.navigation import clean_instruction, next_action_question, walk_frames
from hocket.media.image import Image


def picture(index: int) -> Image:
    return Image.from_path(f"{index}.png")


def test_a_walk_of_one_step_fills_up_with_black() -> None:
    frames = walk_frames(1, 4, picture)
    assert [frame.where.name for frame in frames] == ["black frame"] * 3 + ["0.png"]
    assert [frame.where.name for frame in walk_frames(9, 3, picture)] == ["0.png", "4.png", "8.png"]


def test_the_last_picture_is_the_current_observation() -> None:
    parts = next_action_question([picture(0), picture(1)], 'Say "x" {}')
    assert [part.text if isinstance(part, Text) else part.where.name for part in parts] == [
        "Imagine you are a robot programmed for navigation tasks. "
        "You have been given a video of historical observations ",
        "0.png",
        "\n, and current observation ",
        "1.png",
        '\n. Your assigned task is: "Say "x" {}" Analyze this series of images to decide your '
        "next action, which could be turning left or right by a specific degree, moving forward a "
        "certain distance, or stop if the task is completed.",
    ]


@given(st.text(st.sampled_from("aB .\r\n\t"), max_size=20))
def test_a_clean_instruction_has_no_line_breaks_and_no_space_before_a_full_stop(text: str) -> None:
    cleaned = clean_instruction(text)
    assert "\n" not in cleaned
    assert " ." not in cleaned
    assert clean_instruction(cleaned) == cleaned
