r"""Rows as the chat API of OpenAI takes them: ``messages`` whose content may be a list of parts.

A row::

    {"messages": [
        {"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "a.png"}},
            {"type": "text", "text": "How many?"}]},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "count", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "3"},
        {"role": "assistant", "content": "Three."}],
     "tools": [...]}

A medium is a path, a ``data:`` URL or base64. Parts as Qwen and transformers write them
(``{"type": "image", "image": ...}``) are read too, and those without a medium take the next one of
the row's ``images``, ``audios`` or ``videos``, as TRL writes them. Text is text: ``<image>`` in it
stands for nothing. Knows rows and paths; must not open a medium.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from hocket._errors import ReaderError
from hocket.chat.conversation import Conversation, Json, Message, Part, Role, Text
from hocket.chat.readers import readers
from hocket.chat.readers._calls import calls_text, tools_of
from hocket.chat.readers._media import (
    ALL_KEYS,
    MEDIA_KEYS,
    NOUNS,
    Reference,
    References,
    all_references,
    medium,
)
from hocket.chat.readers._parts import MediumPart, content_parts
from hocket.chat.readers._rows import counted, kind_of, names_of, needed_key, open_row, rest
from hocket.chat.readers._turns import Turn, check_order, extras, role_of, trained

_TURNS = "messages"
_SPEAKERS = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
    "function": Role.TOOL,
}
_OWN_KEYS = {"id", "tools", _TURNS, *ALL_KEYS}
_OWN_TURN_KEYS = {"role", "content", "tool_calls", "function_call", "weight"}
_CALL_KEYS = {"type", "function", "name", "arguments"}
_Parts = list[Text | MediumPart]


@readers.register
def openai(row: Mapping[str, Json], *, root: Path, where: str) -> Conversation:
    """Return a row of OpenAI messages as a conversation, parts in their order.

    Calls of tools become ``<tool_call>`` text behind what the assistant says. ``weight: 0`` means
    that a message is not learned. Keys that are not named here go to ``meta``, those of a message
    and of its parts under ``messages`` and their numbers.

    Args:
        row: the decoded JSON object.
        root: folder that relative media paths start from.
        where: data set, file and row number, for error messages.

    Raises:
        ReaderError: the row has another shape, messages in another order, an empty answer, a
            medium in an answer, or other numbers of parts and media.
        MediaError: a path that no file has, or a URL that would have to be downloaded.
    """
    sample = open_row(row, where, holds="'messages'")
    at = sample.at
    found = row[needed_key(row, (_TURNS,), at)]
    if not isinstance(found, list) or not found:
        raise ReaderError(
            f"{at}: 'messages' is {kind_of(found) if found != [] else 'empty'}, expected a list "
            f"of messages. Put them in [ ]."
        )
    turns: list[Turn] = []
    contents: list[_Parts] = []
    for index, one in enumerate(found):
        turn, parts = _message(one, f"{at}: {_TURNS}[{index}]")
        turns.append(turn)
        contents.append(parts)
    check_order(turns, _TURNS, at)
    listed = all_references(row, at)
    _check_numbers(contents, listed, at)
    left = {kind: iter(given) for kind, given in listed.items()}
    messages = [
        Message(turn.role, tuple(_found(part, left, root) for part in parts), turn.train)
        for turn, parts in zip(turns, contents, strict=True)
    ]
    return Conversation(
        id=sample.id,
        messages=tuple(messages),
        tools=tools_of(row.get("tools"), f"{at}: 'tools'"),
        meta=rest(row, _OWN_KEYS) | extras(_TURNS, turns),
        source=where,
    )


def _message(message: Json, at: str) -> tuple[Turn, _Parts]:
    if not isinstance(message, dict) or "role" not in message:
        found = names_of(message) if isinstance(message, dict) else kind_of(message)
        raise ReaderError(
            f"{at} holds {found}, expected 'role' and 'content'. "
            f"Rename its keys or choose another reader."
        )
    role = role_of(message["role"], _SPEAKERS, f"{at}.role")
    parts, more = content_parts(message.get("content"), f"{at}.content")
    if role is Role.ASSISTANT:
        _check_answer(parts, at)
        parts += _calls(message, parts, at)
        if not any(isinstance(part, Text) and part.text.strip() for part in parts):
            raise ReaderError(
                f"{at}.content is empty and there are no 'tool_calls', expected an answer. "
                f"Fill it in or remove the row."
            )
    extra = rest(message, _OWN_TURN_KEYS)
    if more:
        extra["content"] = more
    if called := _beside_calls(message.get("tool_calls")):
        extra["tool_calls"] = called
    text = "".join(part.text for part in parts if isinstance(part, Text))
    place = f"{at}.role is {message['role']!r}"
    return Turn(role, text, place, trained(message, "weight", at), extra), parts


def _found(part: Text | MediumPart, left: Mapping[str, Iterator[Reference]], root: Path) -> Part:
    if isinstance(part, Text):
        return part
    given = next(left[part.kind]) if part.reference is None else part.reference
    return medium(part.kind, given, root=root, at=part.at)


def _calls(message: Mapping[str, Json], parts: _Parts, at: str) -> list[Text]:
    for key in ("tool_calls", "function_call"):
        if message.get(key):
            gap = "\n" if any(isinstance(part, Text) and part.text for part in parts) else ""
            return [Text(gap + calls_text(message[key], f"{at}.{key}"))]
    return []


def _beside_calls(calls: Json) -> dict[str, Json]:
    """Return what calls carry besides name and arguments, such as their ids: number -> its keys."""
    found: dict[str, Json] = {}
    for index, call in enumerate(calls if isinstance(calls, list) else ()):
        more = rest(call, _CALL_KEYS) if isinstance(call, dict) else {}
        if more:
            found[str(index)] = more
    return found


def _check_answer(parts: _Parts, at: str) -> None:
    for part in parts:
        if isinstance(part, MediumPart):
            raise ReaderError(
                f"{part.at} is a medium in an answer, expected text: the model writes text only. "
                f"Move it to the user's message."
            )


def _check_numbers(contents: list[_Parts], listed: References, at: str) -> None:
    for kind, noun in NOUNS.items():
        wanted = sum(
            isinstance(part, MediumPart) and part.kind == kind and part.reference is None
            for parts in contents
            for part in parts
        )
        given = len(listed[kind])
        if wanted != given:
            raise ReaderError(
                f"{at}: {counted(wanted, f'{kind} part')} without a medium but "
                f"{counted(given, noun)} in '{MEDIA_KEYS[kind][1]}'. Name the medium in its part, "
                f"or choose the reader 'sharegpt' for <{kind}> in text."
            )
