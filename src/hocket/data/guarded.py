"""Media that are opened and decoded by another process, see `hocket.media.guard`.

A guarded medium is the medium itself to everything that uses it; only the methods that open its
file go through the guard. Knows media and conversations; must not know sources' formats or models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, cast

from hocket.chat.conversation import Conversation, Medium, Part
from hocket.data.sources import Row, RowSource, Source
from hocket.media.audio import Audio, Mix
from hocket.media.film import Frames
from hocket.media.frames import FrameSampler
from hocket.media.guard import Guard
from hocket.media.image import Image, Pixels
from hocket.media.limits import DEFAULT_LIMITS, Limits
from hocket.media.resample import Resampler, Wave
from hocket.media.video import Times, Video, VideoInfo


class GuardedRows:
    """A view of a source whose media are opened by another process.

    Args:
        source: all rows.
        guard: the other process.
    """

    def __init__(self, source: Source, guard: Guard) -> None:
        self.source = source
        self._guard = guard

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Conversation:
        """Return a row.

        Raises:
            DataError: the row cannot be understood.
        """
        return guarded(self.source[index], self._guard)

    def row(self, index: int) -> Row:
        """Return a row as it is stored.

        Raises:
            DataError: the row is damaged.
        """
        return cast(RowSource, self.source).row(index)

    def where(self, index: int) -> str:
        """Return the file and number of a row, as messages call it."""
        return cast(RowSource, self.source).where(index)


def guarded(conversation: Conversation, guard: Guard) -> Conversation:
    """Return the conversation with media that a guard opens."""
    messages = tuple(
        replace(message, parts=tuple(_guarded(part, guard) for part in message.parts))
        if any(message.media)
        else message
        for message in conversation.messages
    )
    return replace(conversation, messages=messages)


def announce(pictures: Iterable[Medium]) -> None:
    """Have the pictures that a guard opens decoded, since they are loaded next, in this order.

    Sounds and videos are left out: how they are decoded depends on the model, and they are large.
    """
    calls: dict[Guard, list[tuple[str, Callable[..., Any], tuple[Any, ...]]]] = {}
    for one in pictures:
        if isinstance(one, GuardedImage) and one.pixels is None:
            call = (one.where.name, one.plain.load, (DEFAULT_LIMITS,))
            calls.setdefault(one.guard, []).append(call)
    for guard, found in calls.items():
        guard.announce(found)


def _guarded(part: Part, guard: Guard) -> Part:
    if isinstance(part, Image):
        return GuardedImage(part.where, part.pixels, guard=guard, plain=part)
    if isinstance(part, Audio):
        return _audio(part, guard)
    if isinstance(part, Video):
        return GuardedVideo(
            part.where,
            part.frames,
            part.times,
            part.pictures,
            part.picture_fps,
            guard=guard,
            plain=part,
        )
    return part


def _audio(sound: Audio, guard: Guard) -> GuardedAudio:
    return GuardedAudio(sound.where, sound.wave, sound.rate, guard=guard, plain=sound)


@dataclass(frozen=True, slots=True, eq=False)
class GuardedImage(Image):
    """A picture that another process opens.

    Attributes:
        guard: the other process.
        plain: the picture as its reader made it.
    """

    guard: Guard = field(kw_only=True, repr=False)
    plain: Image = field(kw_only=True, repr=False)

    def size(self, limits: Limits = DEFAULT_LIMITS) -> tuple[int, int]:
        """Return (height, width), see `Image.size`.

        Raises:
            MediaError: as there, or the decoder was lost.
        """
        if self.pixels is not None:
            return Image.size(self, limits)
        # The lengths in a plain header are counted here: nothing in that can hang or crash.
        size = self.plain.plain_size(limits)
        return size or self.guard.call(self.where.name, self.plain.size, limits)

    def load(self, limits: Limits = DEFAULT_LIMITS) -> Pixels:
        """Return the pixels, uint8 (H, W, 3), see `Image.load`.

        Raises:
            MediaError: as there, or the decoder was lost.
        """
        if self.pixels is not None:
            return Image.load(self, limits)
        return self.guard.call(self.where.name, self.plain.load, limits)


@dataclass(frozen=True, slots=True, eq=False)
class GuardedAudio(Audio):
    """A sound that another process opens.

    Attributes:
        guard: the other process.
        plain: the sound as its reader made it.
    """

    guard: Guard = field(kw_only=True, repr=False)
    plain: Audio = field(kw_only=True, repr=False)

    def seconds(self, limits: Limits = DEFAULT_LIMITS) -> float:
        """Return the length, see `Audio.seconds`.

        Raises:
            MediaError: as there, or the decoder was lost.
        """
        if self.wave is not None:
            return Audio.seconds(self, limits)
        return self.guard.call(self.where.name, self.plain.seconds, limits)

    def frames(
        self, rate: int, limits: Limits = DEFAULT_LIMITS, *, resampler: Resampler = "soxr"
    ) -> int:
        """Return ``len(load(rate))``, see `Audio.frames`.

        Raises:
            MediaError: as there, or the decoder was lost.
        """
        if self.wave is not None:
            return Audio.frames(self, rate, limits, resampler=resampler)
        call = self.guard.call
        return call(self.where.name, self.plain.frames, rate, limits, resampler=resampler)

    def load(
        self,
        rate: int,
        limits: Limits = DEFAULT_LIMITS,
        *,
        resampler: Resampler = "soxr",
        mix: Mix = "mean",
    ) -> Wave:
        """Return the samples, float32 (L,), see `Audio.load`.

        Raises:
            MediaError: as there, or the decoder was lost.
        """
        if self.wave is not None:
            return Audio.load(self, rate, limits, resampler=resampler, mix=mix)
        call = self.guard.call
        return call(self.where.name, self.plain.load, rate, limits, resampler=resampler, mix=mix)


@dataclass(frozen=True, slots=True, eq=False)
class GuardedVideo(Video):
    """A video that another process opens.

    Attributes:
        guard: the other process.
        plain: the video as its reader made it.
    """

    guard: Guard = field(kw_only=True, repr=False)
    plain: Video = field(kw_only=True, repr=False)

    def probe(self, limits: Limits = DEFAULT_LIMITS) -> VideoInfo:
        """Return what the video is, see `Video.probe`.

        Raises:
            MediaError: as there, or the decoder was lost.
        """
        if self.frames is not None:
            return Video.probe(self, limits)
        return self.guard.call(self.where.name, self.plain.probe, limits)

    def sound(self, limits: Limits = DEFAULT_LIMITS) -> Audio | None:
        """Return the first sound of the file, guarded too, see `Video.sound`.

        Raises:
            MediaError: as there, or the decoder was lost.
        """
        if self.frames is not None or self.pictures:
            return None
        found = self.guard.call(self.where.name, self.plain.sound, limits)
        return None if found is None else _audio(found, self.guard)

    def pick_count(self, sampler: FrameSampler, limits: Limits = DEFAULT_LIMITS) -> int:
        """Return how many frames `load` will return, see `Video.pick_count`.

        Raises:
            MediaError: as there, or the decoder was lost.
        """
        if self.frames is not None:
            return Video.pick_count(self, sampler, limits)
        return self.guard.call(self.where.name, self.plain.pick_count, sampler, limits)

    def load(self, sampler: FrameSampler, limits: Limits = DEFAULT_LIMITS) -> tuple[Frames, Times]:
        """Return the picked frames and their times, see `Video.load`.

        Raises:
            MediaError: as there, or the decoder was lost.
        """
        if self.frames is not None:
            return Video.load(self, sampler, limits)
        return self.guard.call(self.where.name, self.plain.load, sampler, limits)
