"""The same questions asked blind: does a model look and listen, or does it guess?

A question loses its media, gets those of another one, sees them blurred or hears silence. Ways
that change nothing about a question leave it out. Media are changed when a question is asked, not
before. Knows questions and media; must not know models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import PIL.Image
import PIL.ImageFilter

from hocket.chat.conversation import Conversation, Medium, Message, Part, Text
from hocket.data.seed import generator
from hocket.eval.question import Question
from hocket.media.audio import Audio
from hocket.media.frames import Uniform
from hocket.media.image import Image
from hocket.media.video import Video

Way = Literal["removed", "swapped", "blurred", "silent"]
WAYS: tuple[Way, ...] = get_args(Way)

# Of the shorter side: shapes and colours go, the mean colour stays.
_BLUR_SHARE = 0.25
_BLURRED_FRAMES = 64
_RATE = 16000
# To draw a question whose media may stand in for those of another.
_TRIES = 64

Change = Callable[[tuple[Part, ...]], Iterable[Part]]


_KINDS: dict[Way, tuple[type[Medium], ...]] = {
    "removed": (Image, Audio, Video),
    "swapped": (Image, Audio, Video),
    "blurred": (Image, Video),
    "silent": (Audio,),
}


def concerned(questions: Sequence[Question], way: Way, *, seed: int = 0) -> list[Question]:
    """Return the questions that a way changes, in order; ``swapped`` ones have others' media.

    Nothing is decoded: `blinded` of each does the rest.

    Args:
        questions: all of an exam; ``swapped`` takes media of questions of the same task
            with another answer and media of the same kinds, if there are such of another cluster
            and the same group.
        way: how the medium is kept from the model.
        seed: of the choice of others.
    """
    with_media = [
        question
        for question in questions
        if any(isinstance(medium, _KINDS[way]) for medium in question.conversation.media())
    ]
    return list(_swapped(with_media, seed=seed)) if way == "swapped" else with_media


def blinded(question: Question, way: Way) -> Question:
    """Return a question of `concerned` as it is asked.

    ``removed`` takes every medium away, ``blurred`` blurs pictures and frames, ``silent`` puts
    silence of the same length in the place of sounds.

    Raises:
        MediaError: a medium to be changed cannot be read.
    """
    if way == "swapped":
        return question
    change = {"removed": _drop, "blurred": _each(_blur), "silent": _each(_silence)}[way]
    return replace(question, conversation=_changed(question.conversation, change))


def _swapped(questions: Sequence[Question], *, seed: int) -> Iterator[Question]:
    piles: dict[tuple[object, ...], list[Question]] = {}
    for question in questions:
        piles.setdefault(_kind(question), []).append(question)
    for question in questions:
        other = _other(question, piles[_kind(question)], seed=seed)
        if other is None:
            continue
        media = iter(list(other.conversation.media()))

        def other_medium(parts: tuple[Part, ...], media: Iterator[Part] = media) -> list[Part]:
            return [part if isinstance(part, Text) else next(media) for part in parts]

        yield replace(question, conversation=_changed(question.conversation, other_medium))


def _other(question: Question, pile: Sequence[Question], *, seed: int) -> Question | None:
    """Return one of `_others`, drawn evenly; of a large benchmark they are not all looked at."""
    rng = generator(seed, 0, question.id, "swapped")
    for at in rng.integers(len(pile), size=_TRIES).tolist():
        other = pile[at]
        apart = other.target != question.target and other.cluster != question.cluster
        if apart and other.group == question.group:
            return other
    others = _others(question, pile)
    return others[int(rng.integers(len(others)))] if others else None


def _others(question: Question, pile: Sequence[Question]) -> list[Question]:
    """Return questions with another answer: of the group and another cluster if there are such."""
    found = [other for other in pile if other.target != question.target]
    apart = [other for other in found if other.cluster != question.cluster] or found
    return [other for other in apart if other.group == question.group] or apart


def _kind(question: Question) -> tuple[object, ...]:
    return question.task, tuple(type(medium) for medium in question.conversation.media())


def _drop(parts: tuple[Part, ...]) -> list[Part]:
    """Take media away, each with the line break that follows it."""
    kept: list[Part] = []
    after_medium = False
    for part in parts:
        if isinstance(part, Text):
            text = part.text.removeprefix("\n") if after_medium else part.text
            kept.append(Text(text))
            after_medium = False
        else:
            after_medium = True
    return kept


def _each(change: Callable[[Medium], Medium]) -> Change:
    return lambda parts: [part if isinstance(part, Text) else change(part) for part in parts]


def _blur(medium: Medium) -> Medium:
    if isinstance(medium, Image):
        return Image.from_array(_blurred(medium.load()), f"{medium.where.name}, blurred")
    if isinstance(medium, Video):
        frames, times = medium.load(Uniform(_BLURRED_FRAMES))
        blurred = np.stack([_blurred(frame) for frame in frames])
        return Video.from_array(blurred, times, f"{medium.where.name}, blurred")
    return medium


def _blurred(pixels: np.ndarray) -> np.ndarray:
    """Return pixels, uint8 (H, W, 3), blurred."""
    radius = max(1.0, _BLUR_SHARE * min(pixels.shape[:2]))
    # A copy: Pillow's array cannot be written to, and torch warns of such.
    return np.array(PIL.Image.fromarray(pixels).filter(PIL.ImageFilter.GaussianBlur(radius)))


def _silence(medium: Medium) -> Medium:
    if not isinstance(medium, Audio):
        return medium
    samples = max(1, round(medium.seconds() * _RATE))
    return Audio.from_array(np.zeros(samples, np.float32), rate=_RATE)


def _changed(conversation: Conversation, change: Change) -> Conversation:
    messages = tuple(
        Message(one.role, tuple(change(one.parts)), one.train) for one in conversation.messages
    )
    return replace(conversation, messages=messages)
