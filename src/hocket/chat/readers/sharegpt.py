r"""Rows as ShareGPT, LLaMA-Factory and ms-swift write them: turns, tools and lists of media.

Rows::

    {"conversations": [{"from": "human", "value": "<image>How many?"},
                       {"from": "function_call", "value": "{\"name\": \"count\", ...}"},
                       {"from": "observation", "value": "3"},
                       {"from": "gpt", "value": "Three."}],
     "system": "Be brief.", "tools": "[...]", "images": ["a.png"]}
    {"messages": [{"role": "user", "content": "<audio>Who speaks?"},
                  {"role": "assistant", "content": "A child.", "loss": true}],
     "audios": ["a.wav"]}

Knows rows and paths; must not open a medium or know a tokenizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from hocket.chat.conversation import Conversation, Json
from hocket.chat.readers import readers
from hocket.chat.readers._calls import tools_of
from hocket.chat.readers._chat import chat_turns, merged_calls, with_system
from hocket.chat.readers._media import ALL_KEYS, all_references, located
from hocket.chat.readers._rows import needed_key, open_row, rest
from hocket.chat.readers._turns import check_order, conversation_of, extras

_TURNS = ("conversations", "messages")
_OWN_KEYS = {"id", "system", "tools", *_TURNS, *ALL_KEYS}


@readers.register
def sharegpt(row: Mapping[str, Json], *, root: Path, where: str) -> Conversation:
    """Return a row of turns, in ShareGPT's or ms-swift's keys, as a conversation.

    Placeholders and media are matched as in `llava`; those in results of tools count too. A turn
    of ``function_call`` or ``tool_call`` holds calls as JSON and is written as ``<tool_call>``
    text, joined to what the assistant said right before. ``system`` and ``tools`` (a list or JSON
    text) belong to the whole row; ``loss: false`` in a turn means that it is not learned. Keys
    that are not named here go to ``meta``.

    Args:
        row: the decoded JSON object.
        root: folder that relative media paths start from.
        where: data set, file and row number, for error messages.

    Raises:
        ReaderError: the row has another shape, turns in another order, an empty answer, a call
            that is no JSON, or other numbers of placeholders and media.
        MediaError: a path that no file has.
    """
    sample = open_row(row, where, holds="'conversations' or 'messages'")
    key = needed_key(row, _TURNS, sample.at)
    told = chat_turns(row, key, sample.at)
    turns = with_system(merged_calls(told), row, sample.at)
    check_order(turns, key, sample.at)
    media = all_references(row, sample.at)
    find = partial(located, root=root, at=sample.at)
    meta = rest(row, _OWN_KEYS) | extras(key, told)
    conversation = conversation_of(sample, where, turns, media, find, meta)
    return replace(conversation, tools=tools_of(row.get("tools"), f"{sample.at}: 'tools'"))
