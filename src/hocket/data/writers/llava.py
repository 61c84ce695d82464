"""Rows as LLaVA and its successors read them."""

from __future__ import annotations

from hocket.chat.conversation import Conversation
from hocket.data.writers import Refer, Written, writers
from hocket.data.writers._turns import llava_row


@writers.register
def llava(conversation: Conversation, refer: Refer) -> Written:
    """Return a LLaVA row: ``conversations`` of ``from`` and ``value``, media by placeholders.

    Raises:
        DataError: tools, a tool's turn, a learned question, text such as ``<image>`` in one, or
            ``meta`` with a key of the format.
    """
    return llava_row(conversation, refer)
