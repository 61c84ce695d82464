"""Rows as VITA's trainers read them: LLaVA's, without the state tokens that reading adds."""

from __future__ import annotations

from dataclasses import replace

from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.chat.states import split_state, with_states
from hocket.data.writers import Refer, Written, writers
from hocket.data.writers._turns import llava_row


@writers.register
def vita(conversation: Conversation, refer: Refer) -> Written:
    """Return a VITA row.

    Every answer of this format begins with a state token when it is read, so answers that had
    none get theirs, and those that reading would add again are not written.

    Raises:
        DataError: as `hocket.data.writers.llava`.
    """
    reads = with_states(conversation, ignored=_ignored(conversation))
    bare = replace(reads, messages=tuple(_bare(reads, at) for at in range(len(reads.messages))))
    return Written(llava_row(bare, refer).row, reads)


def _ignored(conversation: Conversation) -> list[int]:
    found = conversation.meta.get("inserted_id")
    numbers = found if isinstance(found, list) else [found]
    return [one for one in numbers if isinstance(one, int) and not isinstance(one, bool)]


def _bare(conversation: Conversation, index: int) -> Message:
    """Return a message without its state if reading would write the same one."""
    message = conversation.messages[index]
    state, answer = split_state(message.text)
    if message.role is not Role.ASSISTANT or message.media or state is None:
        return message
    ignored = _ignored(conversation)
    bare = replace(message, parts=(Text(answer),))
    before = conversation.messages[:index]
    again = with_states(replace(conversation, messages=(*before, bare)), ignored=ignored)
    # Only the answer to a noise may be empty.
    kept = again.messages[-1].text != message.text or (not answer.strip() and index not in ignored)
    return message if kept else bare
