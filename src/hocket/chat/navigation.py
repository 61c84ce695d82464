r"""The questions that NaVILA asks a model that walks: what to do next, and which way it came.

Training data and whoever drives the robot must ask in the same words, so both take them here.
Knows parts of a conversation and NaVILA's choice of frames; must not know rows or decode a medium.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import numpy as np

from hocket.chat.conversation import Medium, Part, Text
from hocket.media.frames import BLANK, History
from hocket.media.image import Image

# NaVILA fills a short walk with black pictures of this size; it does not look at the others'.
_BLANK_SIDE_PIXELS = 448
_ROLE = "Imagine you are a robot programmed for navigation tasks. "
_PAST = "You have been given a video of historical observations "
_PRESENT = ", and current observation "
_TASK = '. Your assigned task is: "{}" '
_CHOICE = (
    "Analyze this series of images to decide your next action, which could be turning left or "
    "right by a specific degree, moving forward a certain distance, or stop if the task is "
    "completed."
)
_TOUR = (
    "Assume you are a robot designed for navigation. "
    "You are provided with captured images sequences ",
    ". Based on this image sequence, please describe the navigation trajectory of the robot.",
)


def walk_frames(seen: int, show: int, picture: Callable[[int], Image]) -> list[Image]:
    """Return what NaVILA shows of a walk: ``show`` pictures, the newest last.

    Args:
        seen: steps so far, at least one.
        show: how many pictures; a short walk has black ones in front.
        picture: returns the picture of a step, counted from 0; only called for those shown.

    Raises:
        ConfigError: ``show`` is below one.
    """
    blank = Image.from_array(
        np.zeros((_BLANK_SIDE_PIXELS, _BLANK_SIDE_PIXELS, 3), np.uint8), "black frame"
    )
    picks = History(frames=show).pick(seen, 0.0)
    return [blank if index == BLANK else picture(index) for index in picks]


def next_action_question(frames: Sequence[Image], instruction: str) -> tuple[Part, ...]:
    r"""Return the question what to do next, as NaVILA asks it.

    Every picture is followed by a newline; all but the last are the past.

    Args:
        frames: what `walk_frames` returns.
        instruction: where to go. NaVILA is trained on `clean_instruction` of it.
    """
    past: list[Part] = []
    for frame in frames[:-1]:
        past += [frame, Text("\n")]
    now = Text(f"\n{_TASK.format(instruction)}{_CHOICE}")
    return _joined([Text(_ROLE + _PAST), *past, Text(_PRESENT), frames[-1], now])


def short_question(frames: Sequence[Image], instruction: str) -> tuple[Part, ...]:
    """Return the question what to do next in few words: the pictures, then the instruction.

    For small models, to whom the hundred words around NaVILA's question are most of the work.

    Args:
        frames: what `walk_frames` returns, the newest last.
        instruction: where to go.
    """
    parts: list[Part] = []
    for frame in frames:
        parts += [frame, Text("\n")]
    return _joined([*parts, Text(instruction)])


class Asking(StrEnum):
    """In which words a model is asked what to do next: NaVILA's, or only the instruction."""

    NAVILA = "navila"
    SHORT = "short"


QUESTIONS: Mapping[Asking, Callable[[Sequence[Image], str], tuple[Part, ...]]] = {
    Asking.NAVILA: next_action_question,
    Asking.SHORT: short_question,
}


def trajectory_question(tour: Medium) -> tuple[Part, ...]:
    """Return the question which way a robot went, as NaVILA asks it for EnvDrop.

    Args:
        tour: the video; the newline that NaVILA has behind each frame is its layout's to write.
    """
    return (Text(_TOUR[0]), tour, Text(_TOUR[1]))


def clean_instruction(instruction: str) -> str:
    """Return an instruction as NaVILA's training data has it.

    Line breaks become spaces, only the first letter of a sentence is large, and there is no space
    before a full stop.
    """
    text = instruction.replace("\r\n", " ").replace("\n", " ").capitalize()
    text = re.sub(r"(\.\s)([a-z])", lambda found: found[1] + found[2].upper(), text)
    return re.sub(r"\s+\.", ".", text)


def _joined(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Return the parts with neighbouring texts made one."""
    joined: list[Part] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, Text) and isinstance(last, Text):
            joined[-1] = Text(last.text + part.text)
        else:
            joined.append(part)
    return tuple(joined)
