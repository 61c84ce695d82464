"""VITA's state tokens: the first character of an answer says what kind of question it answers.

They are a convention of the data, so readers of VITA's rows write them before training; at run
time the model writes them itself. Knows conversations; must not know templates or tokens.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.media.audio import Audio

ANSWERS_AUDIO = "\u261e"
"""The question was spoken."""
NOT_ADDRESSED = "\u261f"
"""The sound is noise or not meant for the assistant; whoever runs the model says nothing."""
ANSWERS_TEXT = "\u261c"
"""The question was written."""
STATES = (ANSWERS_AUDIO, NOT_ADDRESSED, ANSWERS_TEXT)


def with_states(conversation: Conversation, *, ignored: Collection[int] = ()) -> Conversation:
    """Put VITA-1.5's state token in front of every answer that has none yet.

    Args:
        conversation: a dialogue as its row holds it.
        ignored: indices of the answers to sounds that were not meant for the assistant.
    """
    marked: list[Message] = []
    for index, message in enumerate(conversation.messages):
        if message.role is Role.ASSISTANT and not message.text.startswith(STATES):
            spoken = bool(marked) and any(isinstance(one, Audio) for one in marked[-1].media)
            state = NOT_ADDRESSED if index in ignored else _state(spoken)
            message = replace(message, parts=(Text(state), *message.parts))
        marked.append(message)
    return replace(conversation, messages=tuple(marked))


def split_state(answer: str) -> tuple[str | None, str]:
    """Split what a model wrote into its state token, or None, and the rest."""
    return (answer[0], answer[1:]) if answer.startswith(STATES) else (None, answer)


def _state(spoken: bool) -> str:
    return ANSWERS_AUDIO if spoken else ANSWERS_TEXT
