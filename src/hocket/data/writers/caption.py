"""Pairs of a medium and the text that describes it."""

from __future__ import annotations

from hocket.chat.conversation import Conversation, Role, Text
from hocket.data.writers import Refer, Written, writers
from hocket.data.writers._rows import (
    MEDIA_KEYS,
    media_values,
    refer_all,
    refuse_tools,
    refuse_training_marks,
    refused,
    row_around,
    text_only,
)
from hocket.data.writers._turns import placed_text

_CAPTIONS = ("caption", "captions", "text")
_OWN = {"id", "prompt", *_CAPTIONS, *MEDIA_KEYS}
_ORDER = ["image", "audio", "video"]


@writers.register
def caption(conversation: Conversation, refer: Refer) -> Written:
    """Return a medium, its ``caption`` and, where the question has words, its ``prompt``.

    Of several captions all are written again.

    Raises:
        DataError: other turns than one question with a medium and its answer, tools, or ``meta``
            with a key of the format.
    """
    roles = [message.role for message in conversation.messages]
    if roles != [Role.USER, Role.ASSISTANT] or not conversation.messages[0].media:
        shown = ", ".join(role.value for role in roles)
        raise refused(
            conversation,
            "messages",
            f"are from {shown}, expected one question with a medium and its answer",
            "Choose llava or sharegpt.",
        )
    refuse_tools(conversation)
    refuse_training_marks(conversation)
    answer = text_only(conversation, 1)
    values = media_values(refer_all(conversation, refer), listed=refer.listed)
    question = placed_text(conversation, 0)
    kinds = [type(medium).__name__.lower() for medium in conversation.messages[0].media]
    has_words = any(isinstance(part, Text) and part.text for part in conversation.messages[0].parts)
    if has_words or kinds != sorted(kinds, key=_ORDER.index):
        values["prompt"] = question
    key = next((one for one in _CAPTIONS if _is_one_of(answer, conversation, one)), "caption")
    values[key] = conversation.meta.get(key, answer) if key in conversation.meta else answer
    return Written(row_around(conversation, _OWN, values), conversation)


def _is_one_of(answer: str, conversation: Conversation, key: str) -> bool:
    found = conversation.meta.get(key)
    return isinstance(found, list) and answer in found
