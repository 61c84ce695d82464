"""Turn spoken questions into sounds that are not meant for the assistant, for VITA's TaskNeg.

VITA learns to say nothing to noise and to people who talk among themselves: such a sound is
answered by the state token U+261F (`hocket.chat.states`), which keeps the program silent. This
makes such samples out of answered ones. The question's voice is drowned in noise, or another
sample's voice talks over it about as loudly, and the state token replaces the answer.

Only the last exchange is changed, and only if its question is a sound without a written text,
which would be meant for the assistant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from hocket._errors import DataError
from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.chat.states import NOT_ADDRESSED, split_state, with_states
from hocket.data.augment import ConversationAugmentation, Rewrite, Rows, augmentations
from hocket.data.augment._numbers import Finite, Share, check_order
from hocket.data.augment._sound import (
    mix,
    noise,
    power,
    recorded,
    recordings,
    stretch_to,
)
from hocket.media.audio import Audio
from hocket.media.video import Video
from hocket.tokens.span import Modality

LOOKED_AT = 64
"""Rows of the data set that are read in search of another voice."""


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class NotAddressed(ConversationAugmentation):
    """Make a share of the spoken questions noise or talk of others.

    The other voice is the first sound found from a random row of the same data set on; where the
    next 64 rows hold none, or the sample comes from no data set, the question gets noise.

    Attributes:
        share: share of the samples that end in a spoken question which are changed.
        noise: share of those that are drowned in noise; the others are talked over.
        noise_low_db: smallest ratio of the question's voice to the noise, in decibels.
        noise_high_db: largest ratio of the question's voice to the noise, in decibels.
        voice_low_db: smallest ratio of the question's voice to the other voice, in decibels.
        voice_high_db: largest ratio of the question's voice to the other voice, in decibels.
        folder: WAV files to take the noise from; empty for white or pink noise.
        answer: ``drop`` leaves the state token alone, ``keep`` puts it in front of the answer.
        mark_others: give every other answer without a state token the one that VITA-1.5 gives it,
            in unchanged samples too, so that all three are learned.
    """

    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.AUDIO})
    off: ClassVar[Mapping[str, Any]] = {"share": 0.0, "mark_others": False}
    share: Share = 0.1
    noise: Share = 0.5
    noise_low_db: Finite = -30.0
    noise_high_db: Finite = -15.0
    voice_low_db: Finite = -3.0
    voice_high_db: Finite = 3.0
    folder: str = ""
    answer: Literal["drop", "keep"] = "drop"
    mark_others: bool = True

    def __post_init__(self) -> None:
        """Check the ranges and the folder.

        Raises:
            ConfigError: a lower end is above its upper one, or the folder has no WAV file.
        """
        name = "not_addressed"
        check_order(name, noise_low_db=self.noise_low_db, noise_high_db=self.noise_high_db)
        check_order(name, voice_low_db=self.voice_low_db, voice_high_db=self.voice_high_db)
        if self.folder:
            recordings(f"{name}.folder", self.folder)

    def rewrite(
        self, conversation: Conversation, rng: np.random.Generator, *, others: Rows | None
    ) -> Rewrite:
        """Change the last exchange, or nothing but state tokens."""
        index = _spoken_question(conversation)
        if index is None or rng.random() >= self.share:
            return Rewrite(with_states(conversation) if self.mark_others else conversation)
        media = list(conversation.media())
        question = media[index]
        assert isinstance(question, Audio)
        voice = None
        if rng.random() >= self.noise and others is not None:
            voice = _another(others, question, rng)
        over = _Overlay(voice, self._ratio_db(rng, noisy=voice is None), self.folder)
        return Rewrite(self._unanswered(conversation), {index: over})

    def _ratio_db(self, rng: np.random.Generator, *, noisy: bool) -> float:
        if noisy:
            return rng.uniform(self.noise_low_db, self.noise_high_db)
        return rng.uniform(self.voice_low_db, self.voice_high_db)

    def _unanswered(self, conversation: Conversation) -> Conversation:
        *before, answer = conversation.messages
        kept = _without_state(answer) if self.answer == "keep" else replace(answer, parts=())
        if not self.mark_others:
            marked = replace(kept, parts=(Text(NOT_ADDRESSED), *kept.parts))
            return replace(conversation, messages=(*before, marked))
        return with_states(replace(conversation, messages=(*before, kept)), ignored={len(before)})


@dataclass(frozen=True, slots=True)
class _Overlay:
    """Lays another voice, or noise, over a question; the loudness stays that of the question.

    Attributes:
        voice: the other voice; None for noise.
        ratio_db: power of the question over what is laid over it, in decibels.
        folder: where the noise is from; empty for white or pink noise.
    """

    voice: Audio | None
    ratio_db: float
    folder: str

    def __call__(self, wave: np.ndarray, rng: np.random.Generator, *, rate: int) -> np.ndarray:
        """Change float32 (L,)."""
        heard = mix(wave, self._background(len(wave), rng, rate), ratio_db=self.ratio_db)
        loudness = power(heard)
        return heard if loudness == 0 else heard * np.float32(math.sqrt(power(wave) / loudness))

    def _background(self, count: int, rng: np.random.Generator, rate: int) -> np.ndarray:
        if self.voice is not None:
            return stretch_to(self.voice.load(rate), count, rng)
        if not self.folder:
            return noise(rng, count, "white" if rng.random() < 0.5 else "pink")
        files = recordings("not_addressed.folder", self.folder)
        return stretch_to(recorded(files[rng.integers(len(files))], rate), count, rng)


def _spoken_question(conversation: Conversation) -> int | None:
    """Return which medium is the sound of the last question, if it is answered and only spoken."""
    if len(conversation.messages) < 2:
        return None
    question, answer = conversation.messages[-2:]
    if (question.role, answer.role) != (Role.USER, Role.ASSISTANT) or answer.train is False:
        return None
    if answer.media:
        return None  # which could not be dropped: their rows are planned
    if question.text.strip() or answer.text.startswith(NOT_ADDRESSED):
        return None
    films = {medium.where.name for medium in question.media if isinstance(medium, Video)}
    first = len(list(conversation.media())) - len(question.media)
    spoken = [
        first + number
        for number, medium in enumerate(question.media)
        # The soundtrack of a video has its name; it asks nothing.
        if isinstance(medium, Audio) and medium.where.name not in films
    ]
    return spoken[-1] if spoken else None


def _another(others: Rows, question: Audio, rng: np.random.Generator) -> Audio | None:
    """Return a sound of another row, the first from a random one on."""
    start = int(rng.integers(len(others)))
    for step in range(min(LOOKED_AT, len(others))):
        try:
            row = others[(start + step) % len(others)]
        except DataError:
            continue  # named and counted when it is its turn to be learned
        for medium in row.media():
            if isinstance(medium, Audio) and medium != question:
                return medium
    return None


def _without_state(answer: Message) -> Message:
    """Return an answer without the state token that it may begin with."""
    for number, part in enumerate(answer.parts):
        if isinstance(part, Text) and part.text:
            rest = Text(split_state(part.text)[1])
            return replace(
                answer, parts=(*answer.parts[:number], rest, *answer.parts[number + 1 :])
            )
    return answer
