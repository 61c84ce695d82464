"""Rows of text: plain, or a prompt and its response after earlier pairs."""

from __future__ import annotations

from hocket.chat.conversation import Conversation, Role
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

_QUESTIONS = ("prompt", "instruction", "query", "question")
_ANSWERS = ("response", "output", "completion", "answer")
_PLAIN = {"id", "text", *_QUESTIONS, *MEDIA_KEYS}
_OWN = {"id", "input", "history", "system", *_QUESTIONS, *_ANSWERS, *MEDIA_KEYS}


@writers.register
def text(conversation: Conversation, refer: Refer) -> Written:
    """Return ``text`` where the question is empty, else ``prompt`` and ``response``.

    Raises:
        DataError: turns that are not pairs of question and answer, tools, or ``meta`` with a key
            of the format.
    """
    refuse_tools(conversation)
    refuse_training_marks(conversation)
    system = conversation.messages[0].role is Role.SYSTEM if conversation.messages else False
    first = 1 if system else 0
    said = conversation.messages[first:]
    for index, message in enumerate(said):
        if message.role is not (Role.ASSISTANT if index % 2 else Role.USER):
            raise refused(
                conversation,
                f"messages[{first + index}]",
                f"is from {message.role.value!r}, expected questions and answers in turns",
                "Choose sharegpt or openai.",
            )
    if not said or len(said) % 2:
        raise refused(
            conversation, "messages", "end without an answer", "Add it or choose another format."
        )
    if not system and len(said) == 2 and not said[0].parts:
        values: dict[str, object] = {"text": text_only(conversation, 1)}
        return Written(row_around(conversation, _PLAIN, values), conversation)
    lines = [placed_text(conversation, index) for index in range(len(conversation.messages))]
    values = media_values(refer_all(conversation, refer), listed=refer.listed)
    if system:
        values["system"] = lines[0]
    asked = lines[first:]
    values |= {"prompt": asked[-2], "response": asked[-1]}
    if len(asked) > 2:
        values["history"] = [asked[at : at + 2] for at in range(0, len(asked) - 2, 2)]
    return Written(row_around(conversation, _OWN, values), conversation)
