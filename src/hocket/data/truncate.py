"""Samples that cost more than a row may: media first, words last, and every cut counted.

As long as a sample is too long, in this order:

1. media get smaller, the largest first: pictures lose pixels, as far as their layout can, videos
   frames, sounds their end. Those that need not shrink stay as they are;
2. whole media go with their placeholders, in reading order; a question that was nothing but its
   medium goes with its answer, the sound of a video goes with the video;
3. words go: turns from the end as long as a learned answer is left, since what stands in front of
   them is then learned as it would be without the cut; of the turns that are left the answer keeps
   at least half of the row, and the prompt loses words from the middle of its longest text, the
   answer its last tokens. No end of turn is learned where an answer was cut.

No span is ever cut through: `Outline.plans` says what is shown of each medium, and processor and
model follow it. All is a pure function of the conversation, the processor and the budget.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from hocket._errors import DataError
from hocket.chat.conversation import Conversation, Medium, Message, Role, Text
from hocket.data.budget import UNCUT, Budget, Cuts
from hocket.media.audio import Audio
from hocket.media.video import Video
from hocket.tokens.example import IGNORED, Cost, Outline, cost_of
from hocket.tokens.processor import HocketProcessor
from hocket.tokens.span import Modality, Plan

GAP = "[...] "
"""What stands in a prompt where words were left out."""

# Words of a text that is cut; Chinese, Japanese and Korean are cut between characters.
_WORD = re.compile(r"\s*(?:[^\s\u2e80-\uffff]{1,16}|\S)\s*")
_LEAST_WORDS = 8


class OverlongError(DataError):
    """A sample that costs more than a row may."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A sample that fits.

    Attributes:
        conversation: what is left of it.
        outline: its tokens and plans; `HocketProcessor.encode` takes both.
        kept: numbers of the media that are left, counted in the whole conversation.
        cuts: what was cut.
    """

    conversation: Conversation
    outline: Outline
    kept: tuple[int, ...]
    cuts: Cuts = UNCUT


def cut(
    conversation: Conversation, processor: HocketProcessor, budget: Budget
) -> tuple[Conversation, Cuts]:
    """Return what a budget leaves of a sample, and what it cuts.

    Media that only get smaller are counted and stay in the conversation as they are.

    Raises:
        OverlongError: nothing that can be learned would be left.
        MediaError: a header cannot be read.
    """
    found = fit(conversation, processor, budget)
    return found.conversation, found.cuts


def fit(conversation: Conversation, processor: HocketProcessor, budget: Budget) -> Fitted:
    """Return a sample with as little cut as the budget asks for.

    Args:
        conversation: the sample.
        processor: what tokenises it and plans its media.
        budget: the most that it may cost.

    Raises:
        OverlongError: nothing that can be learned would be left.
        MediaError: a header cannot be read.
    """
    whole = processor.prepare(conversation)
    outline = processor.measure(whole)
    media = tuple(whole.media())
    everything = Fitted(whole, outline, tuple(range(len(media))))
    if budget.has_room(outline.cost):
        return everything
    found = _shrunk(everything, processor, budget)
    gone: list[int] = []
    for group in _groups(media, processor):
        if budget.has_room(found.outline.cost):
            break
        if _matters(media[group[0]], budget.excess(found.outline.cost)):
            gone += group
            found = _shrunk(_without(everything, gone, processor), processor, budget)
    before = found.outline.cost.tokens
    if not budget.has_room(found.outline.cost):
        found = _shorter(found, processor, budget)
    return replace(found, cuts=_cuts(everything, found, before))


def _cuts(whole: Fitted, found: Fitted, before: int) -> Cuts:
    smaller = [
        span.modality
        for span, plan, number in zip(
            found.outline.spans, found.outline.plans, found.kept, strict=True
        )
        if plan != whole.outline.plans[number]
    ]
    return Cuts(
        samples=1,
        pictures=smaller.count(Modality.IMAGE),
        videos=smaller.count(Modality.VIDEO),
        sounds=smaller.count(Modality.AUDIO),
        media=len(whole.kept) - len(found.kept),
        turns=len(whole.conversation.messages) - len(found.conversation.messages),
        tokens=before - found.outline.cost.tokens,
    )


def _shrunk(sample: Fitted, processor: HocketProcessor, budget: Budget) -> Fitted:
    """Make media smaller, the largest first, until the sample fits or none can be."""
    media = [
        _Medium(medium, span.modality, span.text_tokens // len(plan.pieces or (1,)))
        for medium, span, plan in zip(
            sample.conversation.media(), sample.outline.spans, sample.outline.plans, strict=True
        )
    ]
    plans = list(sample.outline.plans)
    total = sample.outline.cost
    able = set(range(len(media)))
    while able and any(excess := budget.excess(total)):
        costs = [one.cost(plan) for one, plan in zip(media, plans, strict=True)]
        weights = [_weight(cost, excess, budget) for cost in costs]
        largest = max(able, key=lambda at: (weights[at], -at))
        plan: Plan | None = plans[largest]
        # A step may change no limit: a chunk of sound is padded whatever is in it.
        while plan and _weight(media[largest].cost(plan), excess, budget) >= weights[largest]:
            plan = _smaller(sample.conversation, media, largest, plan, processor)
        if plan is None:
            able.remove(largest)
        else:
            plans[largest] = plan
            total = _exchanged(total, costs[largest], media[largest].cost(plan))
    outline = processor.measure(sample.conversation, plans=plans)
    return replace(sample, outline=outline)


@dataclass(frozen=True, slots=True)
class _Medium:
    """A medium, its kind and the tokens of text behind each of its pieces."""

    medium: Medium
    kind: Modality
    behind: int

    def cost(self, plan: Plan) -> Cost:
        size = plan.units * plan.patches[0] * plan.patches[1]
        tokens = plan.rows + self.behind * len(plan.pieces or (1,))
        if self.kind is Modality.AUDIO:
            return Cost(tokens, frames=size)
        return Cost(tokens, patches=size)


def _smaller(
    sample: Conversation,
    media: Sequence[_Medium],
    at: int,
    plan: Plan,
    processor: HocketProcessor,
) -> Plan | None:
    pictures = sum(one.kind is Modality.IMAGE for one in media)
    return processor.media.smaller(media[at].medium, plan, sample.source, pictures=pictures)


def _exchanged(total: Cost, before: Cost, after: Cost) -> Cost:
    return Cost(
        total.tokens - before.tokens + after.tokens,
        total.patches - before.patches + after.patches,
        total.frames - before.frames + after.frames,
        total.targets,
    )


def _weight(cost: Cost, excess: tuple[int, int, int], budget: Budget) -> float:
    """Return which share of the limits that are passed a medium takes."""
    parts = (
        (cost.tokens, budget.tokens, excess[0]),
        (cost.patches, budget.patches, excess[1]),
        (cost.frames, budget.audio_frames, excess[2]),
    )
    return sum(used / limit for used, limit, over in parts if over)


def _matters(medium: Medium, excess: tuple[int, int, int]) -> bool:
    """Return whether a limit is passed that the medium counts towards."""
    tokens, patches, frames = excess
    return bool(tokens or (frames if isinstance(medium, Audio) else patches))


def _groups(media: Sequence[Medium], processor: HocketProcessor) -> Iterator[list[int]]:
    """Yield the numbers of media that can only go together, in reading order."""
    number = 0
    while number < len(media):
        one = media[number]
        after = media[number + 1] if number + 1 < len(media) else None
        joined = processor.video_sound and isinstance(one, Video) and isinstance(after, Audio)
        if joined and after is not None and after.where.name == one.where.name:
            yield [number, number + 1]
            number += 1
        else:
            yield [number]
        number += 1


def _without(whole: Fitted, gone: Sequence[int], processor: HocketProcessor) -> Fitted:
    """Return the sample without some media and the exchanges that were nothing else.

    Raises:
        OverlongError: no learned answer is left.
    """
    messages: list[Message] = []
    kept: list[int] = []
    number, dropping = 0, False
    for message in whole.conversation.messages:
        numbers = range(number, number + len(message.media))
        number += len(numbers)
        left = _left(message, [one - numbers.start for one in gone if one in numbers])
        if message.role is Role.USER:
            dropping = bool(message.media) and not left.media and not left.text.strip()
        if not dropping:
            messages.append(left)
            kept += [one for one in numbers if one not in gone]
    conversation = replace(whole.conversation, messages=tuple(messages))
    if not _learned(conversation.messages):
        raise _too_long(whole)
    plans = [whole.outline.plans[one] for one in kept]
    outline = processor.measure(conversation, plans=plans)
    return Fitted(conversation, outline, tuple(kept))


def _left(message: Message, gone: Sequence[int]) -> Message:
    """Return a message without some of its media."""
    if not gone:
        return message
    places = [at for at, part in enumerate(message.parts) if not isinstance(part, Text)]
    without = {places[one] for one in gone}
    parts = tuple(part for at, part in enumerate(message.parts) if at not in without)
    return replace(message, parts=parts)


def _learned(messages: Sequence[Message]) -> list[int]:
    """Return the indices of the messages that are learned."""
    return [
        index
        for index, message in enumerate(messages)
        if message.role is Role.ASSISTANT and message.train is not False and message.text.strip()
    ]


def _shorter(sample: Fitted, processor: HocketProcessor, budget: Budget) -> Fitted:
    """Leave out turns from the end, then words.

    Raises:
        OverlongError: something else than tokens is too much, or nothing to learn would be left.
    """
    excess = budget.excess(sample.outline.cost)
    if any(excess[1:]) or sample.kept:
        raise _too_long(sample)
    messages = list(sample.conversation.messages)
    outline = sample.outline
    while outline.cost.tokens > budget.tokens:
        last = max(at for at, one in enumerate(messages) if one.role is Role.USER)
        if not _learned(messages[:last]):
            break
        messages = messages[:last]
        conversation = replace(sample.conversation, messages=tuple(messages))
        outline = processor.measure(conversation)
    conversation = replace(sample.conversation, messages=tuple(messages))
    if outline.cost.tokens > budget.tokens:
        conversation, outline = _cut_words(conversation, outline, processor, budget)
    return replace(sample, conversation=conversation, outline=outline)


def _cut_words(
    conversation: Conversation, outline: Outline, processor: HocketProcessor, budget: Budget
) -> tuple[Conversation, Outline]:
    prompt = _prompt(outline)
    answer = len(outline.labels) - prompt
    most = budget.tokens - min(answer, max(budget.tokens // 2, budget.tokens - prompt))
    first = _learned(conversation.messages)[0]
    # A text that was cut as far as it may be has no words left to give.
    places = [
        (at, part)
        for at, message in enumerate(conversation.messages[:first])
        for part, one in enumerate(message.parts)
        if isinstance(one, Text)
    ]
    places.sort(key=lambda place: (-len(_text(conversation, place)), place))
    for place in places:
        if _prompt(outline) > most:
            conversation = _cut_text(conversation, place, processor, most)
            outline = processor.measure(conversation)
    if _prompt(outline) > most:
        raise OverlongError(
            f"{conversation.source}: {_prompt(outline)} tokens in front of the answer leave no "
            f"room in a row of {budget.tokens}. Raise tokens_per_row or remove the sample."
        )
    labels = outline.labels[: budget.tokens]
    shorter = replace(
        outline,
        input_ids=outline.input_ids[: budget.tokens],
        labels=labels,
        cost=cost_of(labels, (), ()),
    )
    return conversation, shorter


def _cut_text(
    conversation: Conversation, place: tuple[int, int], processor: HocketProcessor, most: int
) -> Conversation:
    """Take as few words as are needed out of the middle of a text, but leave some."""
    words = _WORD.findall(_text(conversation, place))
    low, high = 0, max(0, len(words) - _LEAST_WORDS)
    while low < high:
        middle = (low + high) // 2
        if _prompt(processor.measure(_gap(conversation, place, words, middle))) <= most:
            high = middle
        else:
            low = middle + 1
    return _gap(conversation, place, words, low)


def _gap(
    conversation: Conversation, place: tuple[int, int], words: Sequence[str], gone: int
) -> Conversation:
    """Return the conversation with so many words of a text left out of its middle."""
    if not gone:
        return conversation
    at, number = place
    head = (len(words) - gone + 1) // 2
    text = Text("".join((*words[:head], GAP, *words[head + gone :])))
    message = conversation.messages[at]
    parts = (*message.parts[:number], text, *message.parts[number + 1 :])
    messages = list(conversation.messages)
    messages[at] = replace(message, parts=parts)
    return replace(conversation, messages=tuple(messages))


def _text(conversation: Conversation, place: tuple[int, int]) -> str:
    part = conversation.messages[place[0]].parts[place[1]]
    return part.text if isinstance(part, Text) else ""


def _prompt(outline: Outline) -> int:
    """Return the tokens in front of the first that is learned."""
    learned = (at for at, label in enumerate(outline.labels) if label != IGNORED)
    return next(learned, len(outline.labels))


def _too_long(sample: Fitted) -> OverlongError:
    cost = sample.outline.cost
    return OverlongError(
        f"{sample.conversation.source}: {cost.tokens} tokens, {cost.patches} patches and "
        f"{cost.frames} audio frames cannot be cut to fit a row. Raise tokens_per_row, "
        "patches_per_row or audio_frames_per_row, or remove the sample."
    )
