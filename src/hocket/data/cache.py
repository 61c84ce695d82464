"""A bounded memory of decoded media, so that small data sets are decoded once.

A video is kept whole, with its times, so that any frame sampler finds what it would find in the
file; those longer than `LONGEST_VIDEO` frames or of uneven rate are decoded each time.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import replace

from hocket.chat.conversation import Conversation, Part
from hocket.media.audio import Audio, Mix
from hocket.media.frames import Uniform
from hocket.media.image import Image
from hocket.media.resample import Resampler
from hocket.media.video import Video
from hocket.tokens.span import Modality

LONGEST_VIDEO = 64
KINDS = {Modality.IMAGE: Image, Modality.VIDEO: Video, Modality.AUDIO: Audio}

_Key = tuple[type[Image | Audio | Video], str]


class DecodedMedia:
    """Keeps the most recently used decoded media of one process.

    Args:
        megabytes: most memory the arrays may take; 0 keeps nothing.
        rate: samples per second that sounds are kept at; None keeps no sounds.
        resampler: how sounds get that rate.
        mix: what several channels become.
    """

    def __init__(
        self,
        *,
        megabytes: int,
        rate: int | None,
        resampler: Resampler = "soxr",
        mix: Mix = "mean",
    ) -> None:
        self._room = megabytes * 2**20
        self._rate = rate
        self._resampler = resampler
        self._mix = mix
        # A file may be listened to and watched, so its name alone is no key.
        self._kept: OrderedDict[_Key, Image | Audio | Video] = OrderedDict()
        self._unkept: set[str] = set()
        self._bytes = 0

    def hold(
        self, conversation: Conversation, *, without: frozenset[Modality] = frozenset()
    ) -> Conversation:
        """Return the conversation with its pictures and sounds decoded in memory.

        Args:
            conversation: the sample.
            without: media that stay as they are, because nobody will ask for their content.

        Raises:
            MediaError: a medium cannot be decoded.
        """
        if not self._room:
            return conversation
        kept = tuple(KINDS[modality] for modality in without)
        messages = tuple(
            replace(
                message,
                parts=tuple(
                    part if isinstance(part, kept) else self._held(part) for part in message.parts
                ),
            )
            for message in conversation.messages
        )
        return replace(conversation, messages=messages)

    def has(self, medium: Image | Audio | Video) -> bool:
        """Return whether a medium is in memory."""
        return (type(medium), medium.where.name) in self._kept

    def _held(self, part: Part) -> Part:
        if isinstance(part, Image) and part.pixels is None and part.where.path is not None:
            return self._get(part)
        if isinstance(part, Audio) and part.wave is None and part.where.path is not None:
            return self._get(part) if self._rate is not None else part
        if isinstance(part, Video) and part.frames is None and part.where.path is not None:
            return self._get(part) if self._may_keep(part) else part
        return part

    def _may_keep(self, video: Video) -> bool:
        """Whether a sampler finds the same frames in memory as in the file."""
        name = video.where.name
        if (Video, name) in self._kept:
            return True
        if name in self._unkept:
            return False
        info = video.probe()
        if info.frames <= LONGEST_VIDEO:
            # A file of uneven rate says another mean than the times of its frames do.
            kept = self._get(video)
            if isinstance(kept, Video) and math.isclose(kept.probe().fps, info.fps, rel_tol=1e-6):
                return True
            self._bytes -= _size(self._kept.pop((Video, name), video))
        self._unkept.add(name)
        return False

    def _get(self, medium: Image | Audio | Video) -> Image | Audio | Video:
        key = (type(medium), medium.where.name)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        decoded = self._decode(medium)
        self._kept[key] = decoded
        self._bytes += _size(decoded)
        while self._bytes > self._room:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= _size(oldest)
        return decoded

    def _decode(self, medium: Image | Audio | Video) -> Image | Audio | Video:
        if isinstance(medium, Image):
            return replace(medium, pixels=medium.load())
        if isinstance(medium, Audio):
            assert self._rate is not None
            wave = medium.load(self._rate, resampler=self._resampler, mix=self._mix)
            return replace(medium, wave=wave, rate=self._rate)
        frames, times = medium.load(Uniform(LONGEST_VIDEO))
        return replace(medium, frames=frames, times=times)


def _size(medium: Image | Audio | Video) -> int:
    if isinstance(medium, Image):
        return 0 if medium.pixels is None else medium.pixels.nbytes
    if isinstance(medium, Audio):
        return 0 if medium.wave is None else medium.wave.nbytes
    return 0 if medium.frames is None else medium.frames.nbytes
