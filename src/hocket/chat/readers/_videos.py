r"""Videos as VILA's and NaVILA's rows name them.

Knows keys and folders; must not open a video.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hocket._errors import ReaderError
from hocket.chat.conversation import Json, Medium, Role
from hocket.chat.readers._media import Reference, References, located, references
from hocket.chat.readers._rows import Row, kind_of, short, text_of
from hocket.chat.readers._turns import PLACE, Turn

VIDEO_ID = "video_id"
"""Key of the name of a video without its ending."""
_KEYS = ("video", "videos", "video_path")
_ENDING = ".mp4"
# VILA writes one <image> for each frame; a run of them is one video.
_RUN = re.compile(r"<image>(?:\s*<image>)*")


def video_references(row: Row, at: str) -> list[Reference]:
    """Return the videos of a row: ``video``, ``video_path``, or else ``video_id`` + ``.mp4``.

    Raises:
        ReaderError: two of the keys at once, or something that is no reference.
    """
    found = references(row, "video", at, keys=_KEYS)
    if found or row.get(VIDEO_ID) is None:
        return found
    name = row[VIDEO_ID]
    return [text_of(str(name) if isinstance(name, int) else name, f"{at}: '{VIDEO_ID}'") + _ENDING]


def video_keys(row: Row) -> set[str]:
    """Return the keys of a row that `video_references` reads; a name beside a path is not one."""
    used = {key for key in _KEYS if row.get(key) not in (None, [])}
    return {*_KEYS} if used else {*_KEYS, VIDEO_ID}


def find_videos(
    row: Row, refs: References, *, root: Path, at: str, fps: float | None
) -> dict[str, list[Medium]]:
    """Return the media of a row; a video under ``video_id`` may be the folder of its frames.

    Raises:
        MediaError: a path that no file has.
        ReaderError: a ``data:`` URL that is damaged.
    """
    given: Sequence[Reference] = refs["video"]
    if given == [f"{row.get(VIDEO_ID)}{_ENDING}"]:
        folder = str(row[VIDEO_ID])
        if "\0" not in folder and (root / folder).is_dir():
            given = [folder]
    return located({**refs, "video": given}, root=root, at=at, fps=fps)


def video_for_images(turns: Sequence[Turn], refs: References) -> list[Turn]:
    """Return the turns with ``<video>`` where runs of ``<image>`` stand for videos.

    They do in a row that has videos, no pictures and no ``<video>``, if there are as many.
    """
    asked = [turn.text for turn in turns if turn.role is Role.USER]
    kinds = {kind for text in asked for kind in PLACE.findall(text)}
    runs = sum(len(_RUN.findall(text)) for text in asked)
    if refs["image"] or "video" in kinds or not runs or runs != len(refs["video"]):
        return [*turns]
    return [
        replace(turn, text=_RUN.sub("<video>", turn.text)) if turn.role is Role.USER else turn
        for turn in turns
    ]


def frames_rate(row: Row, at: str) -> float | None:
    """Return ``fps``, frames per second of a video that is kept as frames.

    Raises:
        ReaderError: it is no number above 0.
    """
    value: Json = row.get("fps")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise ReaderError(
            f"{at}: 'fps' is {kind_of(value)} ({short(value)}), expected a number above 0. "
            f"Correct it or leave it out."
        )
    return float(value)
