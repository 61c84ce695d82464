"""Rows as ShareGPT, LLaMA-Factory and ms-swift read them: turns, tools and lists of media."""

from __future__ import annotations

from hocket.chat.conversation import Conversation, Role
from hocket.data.writers import Refer, Written, writers
from hocket.data.writers._rows import MEDIA_KEYS, media_values, refer_all, row_around
from hocket.data.writers._turns import LLAVA_SPEAKERS, Form, write_turns

_SPEAKERS = LLAVA_SPEAKERS | {Role.TOOL: "observation"}
_FORM = Form(speakers=_SPEAKERS, mark="loss")
# ms-swift's keys, for rows whose turns carry more than text under that name.
_SWIFT = Form(
    turns="messages",
    who="role",
    what="content",
    speakers={role: role.value for role in Role},
    mark="loss",
)
_OWN = {"id", "system", "tools", "conversations", "messages", *MEDIA_KEYS}


@writers.register
def sharegpt(conversation: Conversation, refer: Refer) -> Written:
    """Return a ShareGPT row; media stand in ``images``, ``audios`` and ``videos``.

    Calls of tools stay the text that the assistant writes; results are turns of ``observation``.

    Raises:
        DataError: text such as ``<image>`` in a question, or ``meta`` with a key of the format.
    """
    media = media_values(refer_all(conversation, refer), listed=True)
    swift = "messages" in conversation.meta and "conversations" not in conversation.meta
    form = _SWIFT if swift else _FORM
    values: dict[str, object] = {form.turns: write_turns(conversation, form), **media}
    if conversation.tools:
        values["tools"] = [dict(tool) for tool in conversation.tools]
    return Written(row_around(conversation, _OWN, values), conversation)
