"""Turns with placeholders for media, as LLaVA and its successors write them.

Knows messages; must not know files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hocket.chat.conversation import Conversation, Json, Message, Role, Text
from hocket.chat.readers._turns import PLACE
from hocket.data.writers import Refer, Written
from hocket.data.writers._rows import (
    MEDIA_KEYS,
    bare_frames,
    is_learned,
    kind_of,
    media_values,
    plain_frames,
    refer_all,
    refuse_tools,
    refused,
    row_around,
    turn_extras,
)

_READ_FOR_MEDIA = (Role.USER, Role.TOOL)
LLAVA_SPEAKERS = {Role.SYSTEM: "system", Role.USER: "human", Role.ASSISTANT: "gpt"}
"""Who speaks in rows of LLaVA and its successors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a format writes its turns.

    Attributes:
        turns: key of the list of turns.
        who: key of the speaker.
        what: key of the text.
        speakers: role -> speaker; a role that is not there has no place.
        unlearned: speaker of an answer that is not learned; empty where ``mark`` says it.
        mark: key of a turn that says whether it is learned.
    """

    turns: str = "conversations"
    who: str = "from"
    what: str = "value"
    speakers: Mapping[Role, str]
    unlearned: str = ""
    mark: str = ""


LLAVA_FORM = Form(speakers=LLAVA_SPEAKERS, unlearned="ignored_gpt")
"""LLaVA's turns, which VILA, NaVILA, VITA and Ovis share."""


def write_turns(conversation: Conversation, form: Form = LLAVA_FORM) -> list[dict[str, object]]:
    """Return the turns of a conversation, media as placeholders.

    Raises:
        DataError: a role, a mark or a text that the format cannot hold.
    """
    extras = turn_extras(conversation, form.turns)
    return [
        _turn(conversation, index, form, extras.get(str(index), {}))
        for index in range(len(conversation.messages))
    ]


def placed_text(conversation: Conversation, index: int) -> str:
    """Return the text of a message, each medium as ``<image>``, ``<audio>`` or ``<video>``.

    Raises:
        DataError: text that would be read as a placeholder, or a medium where none is read.
    """
    message = conversation.messages[index]
    reads_media = message.role in _READ_FOR_MEDIA
    pieces = []
    for part in message.parts:
        if not isinstance(part, Text):
            if not reads_media:
                raise refused(
                    conversation,
                    f"messages[{index}]",
                    f"from {message.role.value!r} holds a medium, which only 'user' may",
                    "Move it to the question.",
                )
            pieces.append(f"<{kind_of(part)}>")
            continue
        found = PLACE.search(part.text) if reads_media else None
        if found:
            raise refused(
                conversation,
                f"messages[{index}]",
                f"holds the text {found[0]!r}, which this format reads as a medium",
                "Choose openai, where text is text, or write the word otherwise.",
            )
        pieces.append(part.text)
    return "".join(pieces)


def llava_row(
    conversation: Conversation,
    refer: Refer,
    *,
    own: tuple[str, ...] = (),
    frames_key: str = "",
    fps: float = 1.0,
    more: Mapping[str, Json] | None = None,
) -> Written:
    """Return a row of LLaVA's keys.

    Args:
        conversation: what is written.
        refer: says what the row calls its media.
        own: keys that the format reads besides ``conversations`` and the media.
        frames_key: key of a single video that is kept as pictures; empty means ``video``.
        fps: rate of pictures that the row itself says, so that its videos need not.
        more: further keys of the row.

    Raises:
        DataError: the format has no place for a part of the conversation.
    """
    refuse_tools(conversation)
    turns = write_turns(conversation)
    found = refer_all(conversation, refer)
    if not refer.packed:
        found["video"] = [bare_frames(one, fps) for one in found["video"]]
    media = media_values(found, listed=refer.listed)
    frames = plain_frames(found["video"]) if frames_key else []
    if frames:
        media = {key: value for key, value in media.items() if key not in ("video", "videos")}
        media[frames_key] = frames
    values = {"conversations": turns, **media, **(more or {})}
    return Written(row_around(conversation, {"id", *MEDIA_KEYS, *own}, values), conversation)


def _turn(
    conversation: Conversation, index: int, form: Form, extra: Mapping[str, Json]
) -> dict[str, object]:
    message = conversation.messages[index]
    if message.role not in form.speakers:
        raise refused(
            conversation,
            f"messages[{index}]",
            f"is from {message.role.value!r}, who does not speak in this format",
            "Choose sharegpt or openai.",
        )
    turn: dict[str, object] = {
        form.who: _speaker(conversation, index, form),
        form.what: placed_text(conversation, index),
    }
    if form.mark and is_learned(message) != (message.role is Role.ASSISTANT):
        turn[form.mark] = is_learned(message)
    return turn | dict(extra)


def _speaker(conversation: Conversation, index: int, form: Form) -> str:
    message: Message = conversation.messages[index]
    learned = is_learned(message)
    if form.mark or learned == (message.role is Role.ASSISTANT):
        return form.speakers[message.role]
    if learned:
        raise refused(
            conversation,
            f"messages[{index}].train",
            f"is true for {message.role.value!r}, for which this format has no mark",
            "Choose sharegpt or openai.",
        )
    return form.unlearned
