r"""Rows as Ovis's trainers read them: LLaVA's, with videos kept as frames.

A row::

    {"id": "v1", "video_frames": ["v1/000.jpg", "v1/001.jpg"],
     "conversations": [{"from": "human", "value": "<video>\nWhat moves?"},
                       {"from": "gpt", "value": "<think>\n...\n</think>\n\nA car."}]}

``video`` holds a file, a folder of frames or a list of frames, ``video_frames`` a list of frames.
``<think>`` and ``<tool_call>`` are text that the model writes; templates know what they mean. A
row may also be an object whose ``conversations`` holds the one row itself, as the files of Ovis's
custom trainer hold all of theirs. Knows rows and paths; must not open a medium.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from hocket._errors import ReaderError
from hocket.chat.conversation import Conversation, Json
from hocket.chat.readers import readers
from hocket.chat.readers._media import ALL_KEYS, all_references, located, references
from hocket.chat.readers._rows import check_object, open_row, rest
from hocket.chat.readers._turns import Grammar, check_order, conversation_of, extras, read_turns

_GRAMMAR = Grammar()
_FRAMES = "video_frames"
_VIDEO_KEYS = ("video", "videos", _FRAMES)
_OWN_KEYS = {"id", _GRAMMAR.turns, _FRAMES, *ALL_KEYS}


@readers.register
def ovis(row: Mapping[str, Json], *, root: Path, where: str) -> Conversation:
    """Return a row of Ovis's format as a conversation.

    Placeholders and media are matched as in `llava`, pictures and videos may stand in one row.
    ``ignored_gpt`` turns are read and not learned. Keys that are not named here go to ``meta``.

    Args:
        row: the decoded JSON object.
        root: folder that relative media paths start from.
        where: data set, file and row number, for error messages.

    Raises:
        ReaderError: the row has another shape, turns in another order, an empty answer, or other
            numbers of placeholders and media; or it holds several rows.
        MediaError: a path that no file has.
    """
    row = _unwrapped(row, where)
    sample = open_row(row, where, holds="'conversations'")
    turns = read_turns(row, _GRAMMAR, sample.at)
    check_order(turns, _GRAMMAR.turns, sample.at)
    media = all_references(row, sample.at)
    media["video"] = references(row, "video", sample.at, keys=_VIDEO_KEYS, frames_key=_FRAMES)
    find = partial(located, root=root, at=sample.at)
    meta = rest(row, _OWN_KEYS) | extras(_GRAMMAR.turns, turns)
    return conversation_of(sample, where, turns, media, find, meta)


def _unwrapped(row: Mapping[str, Json], where: str) -> Mapping[str, Json]:
    check_object(row, where, "'conversations'")
    found = row.get(_GRAMMAR.turns)
    if not isinstance(found, list) or not found:
        return row
    inner = [one for one in found if isinstance(one, dict) and _GRAMMAR.turns in one]
    if len(inner) < len(found):
        return row
    if len(inner) > 1:
        raise ReaderError(
            f"{where}: 'conversations' holds {len(inner)} rows, expected the turns of one. "
            f"Open the file with the source 'json', which reads such a file row by row."
        )
    return {**row, **inner[0]}
