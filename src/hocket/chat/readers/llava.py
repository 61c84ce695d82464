r"""Rows as LLaVA and its successors write them: ``conversations`` of ``from`` and ``value``.

A row::

    {"id": "a1", "image": "a.png",
     "conversations": [{"from": "human", "value": "<image>\nWhat digit is this?"},
                       {"from": "gpt", "value": "Seven."}]}

``image`` (or ``images``), ``audio`` (or ``audios``) and ``video`` (or ``videos``) hold a path,
``{"path": ...}`` or a list of them. ``<image>``, ``<audio>`` and ``<video>`` in human turns stand
for the media in order. Knows rows and paths; must not open a medium or know a tokenizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from hocket.chat.conversation import Conversation, Json
from hocket.chat.readers import readers
from hocket.chat.readers._media import ALL_KEYS, all_references, located, references
from hocket.chat.readers._rows import open_row, rest
from hocket.chat.readers._turns import Grammar, check_order, conversation_of, extras, read_turns

_GRAMMAR = Grammar()
# VILA's rows call a video `video_path` too; as a key of `meta` it would be lost without a word.
_VIDEO_KEYS = ("video", "videos", "video_path")
_OWN_KEYS = {"id", _GRAMMAR.turns, "video_path", *ALL_KEYS}


@readers.register
def llava(row: Mapping[str, Json], *, root: Path, where: str) -> Conversation:
    r"""Return a LLaVA-style row as a conversation.

    Placeholders in human turns are replaced by the media in order, and every other character is
    kept, the newline beside a placeholder too. If no turn holds the placeholder of a kind that
    the row has media of, these media go before the text of the first human turn, each followed
    by a newline: LLaVA's ``<image>\n``. Any other difference in number is an error.

    A placeholder in a system or gpt turn is plain text and stands for no medium.

    A list of pictures under ``video`` is one video of frames, and so is a folder of pictures; any
    other list holds one medium per entry, and an entry of ``videos`` may itself be a list of
    pictures. ``video_path`` is another spelling of ``video``. ``ignored_gpt`` turns are read and
    not learned. Keys that are not named here go to ``meta``, those of a turn under
    ``conversations`` and its number.

    Args:
        row: the decoded JSON object.
        root: folder that relative media paths start from.
        where: data set, file and row number, for error messages; a row without an ``id`` gets
            its row number.

    Raises:
        ReaderError: the row has another shape, turns in another order, an empty answer, or other
            numbers of placeholders and media.
        MediaError: a path that no file has.
    """
    sample = open_row(row, where, holds="'conversations'")
    turns = read_turns(row, _GRAMMAR, sample.at)
    check_order(turns, _GRAMMAR.turns, sample.at)
    media = all_references(row, sample.at)
    media["video"] = references(row, "video", sample.at, keys=_VIDEO_KEYS)
    find = partial(located, root=root, at=sample.at)
    meta = rest(row, _OWN_KEYS) | extras(_GRAMMAR.turns, turns)
    return conversation_of(sample, where, turns, media, find, meta)
