"""A preference becomes two samples: the same dialogue and media, and either answer.

Only the last answer is learned. Both answers share one row, one decoding of the media and whatever
had to be made smaller; their words are never cut, since a cut answer may be another preference.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from hocket._errors import DataError
from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.data.budget import Budget
from hocket.data.truncate import Fitted, OverlongError, fit
from hocket.tokens.example import Cost, Outline
from hocket.tokens.processor import HocketProcessor

REJECTED = "rejected"
"""Where the reader ``dpo`` leaves the text of the rejected answer."""


class Pair(NamedTuple):
    """One dialogue with either answer."""

    chosen: Conversation
    rejected: Conversation


class FittedPair(NamedTuple):
    """A pair that fits a row: what `fit` says of the chosen half, and the rejected one's tokens."""

    chosen: Fitted
    rejected: Outline


def pair_of(conversation: Conversation) -> Pair:
    """Return a preference, as the reader ``dpo`` returns it, as two conversations.

    Raises:
        DataError: there is no rejected answer, or the chosen one holds more than text.
    """
    *before, answer = conversation.messages
    text = conversation.meta.get(REJECTED)
    if not isinstance(text, str) or not text.strip() or answer.role is not Role.ASSISTANT:
        raise DataError(
            f"{conversation.source}: no rejected answer beside the chosen one, which a stage with "
            "'preference' learns from. Read the data with reader: dpo, or drop 'preference'."
        )
    if answer.media:
        raise DataError(
            f"{conversation.source}: the chosen answer holds a medium, expected text alone. "
            "Remove the row."
        )
    asked = [replace(message, train=False) for message in before]
    answers = [
        Message(Role.ASSISTANT, parts, train=True) for parts in (answer.parts, (Text(text),))
    ]
    chosen, rejected = (replace(conversation, messages=(*asked, one)) for one in answers)
    return Pair(chosen, rejected)


def with_both_answers(conversation: Conversation) -> Conversation:
    """Return a preference with both answers in its last turn, to be asked what it speaks of."""
    *before, answer = conversation.messages
    text = conversation.meta.get(REJECTED)
    parts = (*answer.parts, Text(text)) if isinstance(text, str) else answer.parts
    return replace(conversation, messages=(*before, replace(answer, parts=parts)))


def fit_pair(pair: Pair, processor: HocketProcessor, budget: Budget) -> FittedPair:
    """Make the media of a pair as much smaller as one row needs to hold both halves.

    Args:
        pair: both halves.
        processor: what tokenises them and plans their media.
        budget: the most that the two may cost together.

    Raises:
        OverlongError: words or whole media would have to go.
        MediaError: a header cannot be read.
    """
    chosen, rejected = (processor.prepare(one) for one in pair)
    outline = processor.measure(chosen)
    other = processor.measure(rejected, plans=outline.plans)
    if budget.has_room(outline.cost + other.cost):
        media = tuple(range(len(outline.plans)))
        return FittedPair(Fitted(chosen, outline, media), other)
    half = Budget(budget.tokens // 2, budget.patches // 2, budget.audio_frames // 2)
    longer = chosen if outline.cost.tokens >= other.cost.tokens else rejected
    try:
        found = fit(longer, processor, half)
    except OverlongError as error:
        raise _too_long(chosen, outline.cost + other.cost) from error
    if found.cuts.media or found.cuts.turns or found.cuts.tokens:
        raise _too_long(chosen, outline.cost + other.cost)
    plans = found.outline.plans
    kept = Fitted(chosen, processor.measure(chosen, plans=plans), found.kept, found.cuts)
    return FittedPair(kept, processor.measure(rejected, plans=plans))


def _too_long(chosen: Conversation, both: Cost) -> OverlongError:
    return OverlongError(
        f"{chosen.source}: its two answers with the question take {both.tokens} tokens, "
        f"{both.patches} patches and {both.frames} audio frames, and words of a preference are not "
        "cut. Raise tokens_per_row, patches_per_row or audio_frames_per_row, or remove the row."
    )
