"""The sound of a video as a medium of its own, behind the video."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

from hocket.chat.conversation import Conversation, Message, Part
from hocket.media.audio import Audio
from hocket.media.video import Video


def with_soundtracks(conversation: Conversation) -> Conversation:
    """Put the sound of every video that has one behind it; those that are there stay as they are.

    Raises:
        MediaError: a video cannot be opened.
    """
    messages = tuple(_heard(message) for message in conversation.messages)
    return replace(conversation, messages=messages)


def _heard(message: Message) -> Message:
    if not any(isinstance(part, Video) for part in message.parts):
        return message
    behind = (*message.parts[1:], None)
    pairs = (_with_sound(part, after) for part, after in zip(message.parts, behind, strict=True))
    return replace(message, parts=tuple(chain.from_iterable(pairs)))


def _with_sound(part: Part, after: Part | None) -> tuple[Part, ...]:
    if not isinstance(part, Video):
        return (part,)
    if isinstance(after, Audio) and after.where.name == part.where.name:
        return (part,)
    sound = part.sound()
    return (part,) if sound is None else (part, sound)
