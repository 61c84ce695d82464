"""What a model makes of a row: how long it is, and whether its labels hold every answer.

Knows conversations and the processor; must not know files or other rows.
"""

from __future__ import annotations

from hocket._errors import HocketError
from hocket.chat.conversation import Conversation, Role
from hocket.data.audit import Kind, RowFacts
from hocket.media.guard import LostDecoderError
from hocket.tokens.example import IGNORED, Outline
from hocket.tokens.processor import HocketProcessor


def measured(
    conversation: Conversation, facts: RowFacts, processor: HocketProcessor, max_tokens: int
) -> RowFacts:
    """Return the facts of a row with what the model makes of it: its length and its labels.

    Args:
        conversation: the row.
        facts: what is known of it.
        processor: that of the model.
        max_tokens: most that a row may have; 0 for any number.
    """
    try:
        outline = processor.measure(conversation)
    except LostDecoderError as error:
        return facts._replace(faults=((Kind.DECODER, " ".join(str(error).split())),))
    except HocketError as error:
        return facts._replace(faults=((Kind.MODEL, " ".join(str(error).split())),))
    faults: list[tuple[Kind, str]] = []
    tokens = len(outline.input_ids)
    if max_tokens and tokens > max_tokens:
        reason = f"{conversation.source}: {tokens} tokens, at most {max_tokens} fit. Shorten it."
        faults.append((Kind.LENGTH, reason))
    missing = _uncovered(conversation, outline, processor)
    if missing:
        faults.append((Kind.LABELS, missing))
    learned = sum(label != IGNORED for label in outline.labels)
    return facts._replace(tokens=tokens, learned=learned, faults=tuple(faults))


def _uncovered(conversation: Conversation, outline: Outline, processor: HocketProcessor) -> str:
    """Return which answer the learned tokens do not hold, or an empty text."""
    tokenizer = processor.tokenizer

    def plain(ids: list[int]) -> str:
        return "".join(tokenizer.decode(ids, skip_special_tokens=True).split())

    covered = plain([label for label in outline.labels if label != IGNORED])
    for number, message in enumerate(conversation.messages):
        if message.role is not Role.ASSISTANT or message.train is False:
            continue
        # A tokenizer may change text for good, so the answer goes through it as well.
        answer = plain(tokenizer(message.text, add_special_tokens=False)["input_ids"])
        if answer not in covered:
            return (
                f"{conversation.source}: the learned tokens do not hold the answer of message "
                f"{number}. Check the chat template of the model."
            )
    return ""
