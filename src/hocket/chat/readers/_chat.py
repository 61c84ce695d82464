"""Turns as ShareGPT, LLaMA-Factory, ms-swift and TRL write them.

They agree on lists of turns and differ in the names of the keys and of who speaks. Calls of tools
and their results are turns of their own. Knows turns; must not know media.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hocket._errors import ReaderError
from hocket.chat.conversation import Role
from hocket.chat.readers._rows import Row, text_of
from hocket.chat.readers._turns import LLAVA_SPEAKERS, Grammar, Turn, read_turns

SPEAKERS = LLAVA_SPEAKERS | {
    "chatgpt": Role.ASSISTANT,
    "bing": Role.ASSISTANT,
    "bard": Role.ASSISTANT,
    "function_call": Role.ASSISTANT,
    "tool_call": Role.ASSISTANT,
    "observation": Role.TOOL,
    "tool_response": Role.TOOL,
    "tool": Role.TOOL,
    "function": Role.TOOL,
}
"""Who speaks in these formats."""
_CALLS = ("function_call", "tool_call")


def chat_turns(row: Row, key: str, at: str) -> list[Turn]:
    """Return the turns under a key, ``from`` and ``value`` or ``role`` and ``content``.

    Raises:
        ReaderError: no list of turns, a turn of another shape, or one in OpenAI's form.
    """
    found = row.get(key)
    first = found[0] if isinstance(found, list) and found else None
    plain = not isinstance(first, dict)
    who = "role" if isinstance(first, dict) and "role" in first else "from"
    what = "content" if isinstance(first, dict) and "content" in first else "value"
    for index, turn in enumerate(found if isinstance(found, list) and not plain else ()):
        if isinstance(turn, dict) and (isinstance(turn.get(what), list) or turn.get("tool_calls")):
            raise ReaderError(
                f"{at}: {key}[{index}] holds parts or 'tool_calls', expected text under '{what}'. "
                f"Choose the reader 'openai'."
            )
    grammar = Grammar(turns=key, who=who, what=what, speakers=SPEAKERS, calls=_CALLS, train="loss")
    return read_turns(row, grammar, at)


def merged_calls(turns: Sequence[Turn]) -> list[Turn]:
    """Return the turns with a call joined to what the assistant said right before, by a newline.

    Turns of which one is learned and the other is not stay apart.
    """
    merged: list[Turn] = []
    for turn in turns:
        before = merged[-1] if merged else None
        joins = turn.call and before is not None and before.role is Role.ASSISTANT
        if joins and before is not None and before.train == turn.train:
            merged[-1] = replace(before, text=f"{before.text}\n{turn.text}")
        else:
            merged.append(turn)
    return merged


def with_system(turns: Sequence[Turn], row: Row, at: str) -> list[Turn]:
    """Return the turns with the row's ``system`` text in front, if it has one.

    Raises:
        ReaderError: it is no text, or the turns begin with a system turn too.
    """
    value = row.get("system")
    if value in (None, ""):
        return [*turns]
    text = text_of(value, f"{at}: 'system'")
    if turns and turns[0].role is Role.SYSTEM:
        raise ReaderError(
            f"{at}: both 'system' and a system turn are given, expected one of them. "
            f"Remove the other."
        )
    return [Turn(Role.SYSTEM, text, f"{at}: 'system'"), *turns]
