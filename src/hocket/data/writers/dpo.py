"""Preferences: a question with a chosen and a rejected answer."""

from __future__ import annotations

from hocket.chat.conversation import Conversation, Role
from hocket.data.writers import Refer, Written, writers
from hocket.data.writers._rows import (
    MEDIA_KEYS,
    media_values,
    refer_all,
    refuse_tools,
    refused,
    row_around,
)
from hocket.data.writers._turns import LLAVA_SPEAKERS, Form, write_turns

_FORM = Form(speakers=LLAVA_SPEAKERS | {Role.TOOL: "observation"}, mark="loss")
_OWN = {"id", "system", "prompt", "question", "messages", "chosen", "rejected", *MEDIA_KEYS}
_EXTRAS = ("chosen", "rejected_turns")


@writers.register
def dpo(conversation: Conversation, refer: Refer) -> Written:
    """Return a preference; the text of the rejected answer is ``meta["rejected"]``.

    A single question is ``prompt`` with its answers as text, as VILA writes it; a dialogue is
    ``conversations`` with its answers as turns, as LLaMA-Factory writes it.

    Raises:
        DataError: no rejected answer, no answer at the end, tools, or ``meta`` with a key of the
            format.
    """
    rejected = conversation.meta.get("rejected")
    if not isinstance(rejected, str):
        raise refused(
            conversation, "meta.rejected", "is missing, expected text", "Choose another format."
        )
    if not conversation.messages or conversation.messages[-1].role is not Role.ASSISTANT:
        raise refused(conversation, "messages", "end without an answer", "Add the chosen answer.")
    refuse_tools(conversation)
    values = media_values(refer_all(conversation, refer), listed=refer.listed)
    *asked, answer = write_turns(conversation, _FORM)
    chosen = answer | _extra(conversation, "chosen", len(asked))
    plain = len(asked) == 1 and set(asked[0]) == {"from", "value"}
    if plain and set(chosen) == {"from", "value"} and not _extra(conversation, "rejected_turns", 0):
        values |= {"prompt": asked[0]["value"], "chosen": answer["value"], "rejected": rejected}
    else:
        lost: dict[str, object] = {"from": "gpt", "value": rejected}
        lost |= _extra(conversation, "rejected_turns", len(asked))
        values |= {"conversations": asked, "chosen": [chosen], "rejected": [lost]}
    row = row_around(conversation, _OWN - {*_EXTRAS}, values)
    return Written({key: row[key] for key in row if key != "rejected_turns"}, conversation)


def _extra(conversation: Conversation, key: str, index: int) -> dict[str, object]:
    """Return what the turn of an answer carried; it stood alone, or behind the whole dialogue."""
    found = conversation.meta.get(key)
    if not isinstance(found, dict):
        return {}
    extra = found.get("0", found.get(str(index)))
    return dict(extra) if isinstance(extra, dict) else {}
