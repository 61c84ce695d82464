r"""Rows as NaVILA reads them: walks with the next action, tours to describe, and VILA's rows.

Rows::

    {"video_id": "12-3", "frames": ["12/0.jpg", "12/1.jpg"], "q": "Go to the red chair.",
     "a": "The next action is move forward 75 cm."}
    {"video_id": "12", "instruction": "Go past the table and stop at the door."}
    {"video": "scene0.mp4", "q": "What is beside the bin?", "a": ["a desk", "desk"]}

The first are R2R, RxR and human videos, the second EnvDrop, the third ScanQA, which `vila` reads
with everything else. The pictures of a walk may stand in the row itself, as bytes. Knows rows and
paths; must not open a medium.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hocket._errors import ConfigError, ReaderError
from hocket.chat.conversation import Conversation, Json, Message, Role, Text
from hocket.chat.navigation import (
    QUESTIONS,
    Asking,
    clean_instruction,
    trajectory_question,
    walk_frames,
)
from hocket.chat.readers import readers
from hocket.chat.readers._media import Bytes, Frames, image, references, url_of
from hocket.chat.readers._rows import (
    Sample,
    answer_of,
    check_object,
    counted,
    kind_of,
    needed_key,
    one_key,
    open_row,
    rest,
    text_of,
)
from hocket.chat.readers._videos import (
    VIDEO_ID,
    find_videos,
    frames_rate,
    video_keys,
    video_references,
)
from hocket.chat.readers.vila import vila
from hocket.media.image import Image

_FRAMES = "frames"


@readers.register
def navila(
    row: Mapping[str, Json],
    *,
    root: Path,
    where: str,
    frames: int = 8,
    clean: bool = True,
    prompt: str = Asking.NAVILA,
) -> Conversation:
    """Return a row of NaVILA's format as a conversation.

    A walk becomes NaVILA's question about the next action, its ``frames`` pictures chosen by the
    sampler ``history`` (the newest last, black ones before a short walk); all paths stay in
    ``meta``, pictures in the row as ``data:`` URLs. A tour becomes the question which way the robot
    went. All other rows are `vila`'s; a row whose ``a`` is a list of answers is a question about a
    video of its ``frames``.

    Args:
        row: the decoded JSON object.
        root: folder that relative media paths start from.
        where: data set, file and row number, for error messages.
        frames: pictures that a walk shows, 8 for the released checkpoint.
        clean: write instructions as NaVILA's training does, see `clean_instruction`; false
            leaves them alone, as its evaluation does.
        prompt: ``navila`` asks in NaVILA's words, ``short`` shows the pictures and says the
            instruction.

    Raises:
        ReaderError: the row has another shape, or no answer.
        MediaError: a path that no file has.
        ConfigError: ``frames`` is below one, or no prompt is called that.
    """
    holds = "'frames' and 'q', 'instruction', 'q' or 'conversations'"
    check_object(row, where, holds)
    if row.get("conversations") is not None:
        return vila(row, root=root, where=where)
    if row.get("instruction") is not None:
        sample = open_row(row, where, holds=holds, id_keys=("id", VIDEO_ID))
        return _tour(row, sample, root, where)
    if row.get(_FRAMES) is None:
        return vila(row, root=root, where=where)
    if isinstance(row.get("a"), list):
        return vila(_as_video(row, where), root=root, where=where)
    sample = open_row(row, where, holds=holds, id_keys=("id", VIDEO_ID))
    if prompt not in set(Asking):
        known = ", ".join(Asking)
        raise ConfigError(f"reader 'navila': no prompt {prompt!r}; there are {known}.")
    asking = Asking(prompt)
    return _walk(row, sample, root, where, frames=frames, clean=clean, asking=asking)


def _walk(
    row: Mapping[str, Json],
    sample: Sample,
    root: Path,
    where: str,
    *,
    frames: int,
    clean: bool,
    asking: Asking,
) -> Conversation:
    at = sample.at
    instruction = text_of(row[needed_key(row, ("q",), at)], f"{at}: 'q'")
    answer = answer_of(row[needed_key(row, ("a",), at)], f"{at}: 'a'")
    pictures = _pictures(row, at)

    def picture(index: int) -> Image:
        return image(pictures[index], root=root, at=at)

    shown = walk_frames(len(pictures), frames, picture)
    words = clean_instruction(instruction) if clean else instruction
    question = QUESTIONS[asking](shown, words)
    return Conversation(
        id=sample.id,
        messages=(Message(Role.USER, question), Message(Role.ASSISTANT, (Text(answer),))),
        meta=_kept(row, pictures) | ({"q": instruction} if clean else {}),
        source=where,
    )


def _tour(row: Mapping[str, Json], sample: Sample, root: Path, where: str) -> Conversation:
    at = sample.at
    answer = answer_of(row["instruction"], f"{at}: 'instruction'")
    seen = _as_video(row, at) if row.get(_FRAMES) is not None else row
    refs = {"video": video_references(seen, at)}
    if len(refs["video"]) != 1:
        raise ReaderError(
            f"{at}: {counted(len(refs['video']), 'video')}, expected one under 'video', "
            f"'video_id' or 'frames'. Correct the row."
        )
    (video,) = find_videos(seen, refs, root=root, at=at, fps=frames_rate(row, at))["video"]
    own = {"id", "instruction", _FRAMES, *video_keys(row)}
    return Conversation(
        id=sample.id,
        messages=(
            Message(Role.USER, trajectory_question(video)),
            Message(Role.ASSISTANT, (Text(answer),)),
        ),
        meta=rest(row, own),
        source=where,
    )


def _pictures(row: Mapping[str, Json], at: str) -> list[str | Bytes]:
    found = references(row, "image", at, keys=(_FRAMES,))
    pictures = [one for one in found if not isinstance(one, Frames)]
    if not pictures:
        raise ReaderError(
            f"{at}: 'frames' is {kind_of(row[_FRAMES])} without paths, expected the pictures of "
            f"the walk, the newest last. Add them or remove the row."
        )
    return pictures


def _kept(row: Mapping[str, Json], pictures: Sequence[str | Bytes]) -> dict[str, Json]:
    """Return what else the row says; pictures in the row as text, since that is JSON."""
    kept = rest(row, {"id", "a", "q"})
    if any(isinstance(one, Bytes) for one in pictures):
        kept[_FRAMES] = [
            url_of(one.data, one.name) if isinstance(one, Bytes) else one for one in pictures
        ]
    return kept


def _as_video(row: Mapping[str, Json], at: str) -> dict[str, Json]:
    """Return the row with its frames as its video."""
    one_key(row, (_FRAMES, "video"), at)
    return {**rest(row, {_FRAMES}), "video": row[_FRAMES]}
