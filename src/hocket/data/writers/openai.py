"""Rows as the chat API of OpenAI takes them: ``messages`` whose content is text or parts."""

from __future__ import annotations

from collections.abc import Mapping

from hocket.chat.conversation import Conversation, Json, Part, Role, Text
from hocket.data.writers import Refer, Reference, Written, writers
from hocket.data.writers._rows import (
    MEDIA_KEYS,
    is_learned,
    kind_of,
    refused,
    row_around,
    text_only,
    turn_extras,
)

_TURNS = "messages"
_OWN = {"id", "tools", _TURNS, *MEDIA_KEYS}


@writers.register
def openai(conversation: Conversation, refer: Refer) -> Written:
    """Return a row of OpenAI messages; a medium is a part, ``{"type": "image_url", ...}``.

    Where the row holds bytes, or lists of media have to have one shape, parts are
    ``{"type": "image"}`` and take the next one of ``images``, as TRL writes them. Calls of tools
    stay the text that the assistant writes.

    Raises:
        DataError: a medium in an answer, or ``meta`` with a key of the format.
    """
    listed: dict[str, list[Reference]] = {}
    count = len(conversation.messages)
    messages = [_message(conversation, index, refer, listed) for index in range(count)]
    values: dict[str, object] = {_TURNS: messages, **listed}
    if conversation.tools:
        values["tools"] = [dict(tool) for tool in conversation.tools]
    return Written(row_around(conversation, _OWN, values), conversation)


def _message(
    conversation: Conversation, index: int, refer: Refer, listed: dict[str, list[Reference]]
) -> dict[str, object]:
    message = conversation.messages[index]
    extra = dict(turn_extras(conversation, _TURNS).get(str(index), {}))
    beside_parts, beside_calls = extra.pop("content", None), extra.pop("tool_calls", None)
    if beside_calls is not None:
        raise refused(
            conversation,
            f"meta.{_TURNS}.{index}.tool_calls",
            "belongs to calls that are text by now",
            "Remove it; the calls themselves are kept.",
        )
    written: dict[str, object] = {"role": message.role.value}
    if message.media or beside_parts is not None or refer.listed:
        at = f"{conversation.source} (id {conversation.id!r}): messages[{index}]"
        more = beside_parts if isinstance(beside_parts, dict) else {}
        parts = [
            _part(part, refer, listed, at) | _extra_of(more, number)
            for number, part in enumerate(message.parts)
        ]
        if message.role is Role.ASSISTANT:
            text_only(conversation, index)
        written["content"] = parts
    else:
        written["content"] = message.text
    if is_learned(message) != (message.role is Role.ASSISTANT):
        written["weight"] = int(is_learned(message))
    return written | extra


def _part(
    part: Part, refer: Refer, listed: dict[str, list[Reference]], at: str
) -> dict[str, object]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    kind = kind_of(part)
    reference = refer(part, f"{at}, {kind}")
    if refer.listed or refer.packed:
        listed.setdefault(f"{kind}s", []).append(reference)
        return {"type": kind}
    if isinstance(reference, list | Mapping):
        return {"type": kind, kind: reference}
    return {"type": f"{kind}_url", f"{kind}_url": {"url": reference}}


def _extra_of(more: Mapping[str, Json], number: int) -> dict[str, object]:
    """Return what a part carried besides, without what stood in an object of another shape."""
    found = more.get(str(number))
    return dict(found) if isinstance(found, dict) else {}
