"""How much one request, and all requests together, may take.

Knows numbers and counts; must not know HTTP, media or models.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hocket._errors import ConfigError
from hocket.media.limits import Limits
from hocket.serve.errors import ApiError

MIB = 2**20
_LEAST_WAIT_SECONDS = 1
_MOST_WAIT_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeLimits:
    """Limits of a server; a request beyond one of them is refused before anything is computed.

    Attributes:
        body_bytes: the whole body of a request.
        part_bytes: one medium, encoded.
        text_chars: all texts of a request together.
        parts: media of a request.
        messages: messages of a request.
        depth: JSON inside JSON.
        pixels: height times width of a picture.
        side_pixels: height and width of a picture or frame, each.
        frame_pixels: height times width of a video's frame.
        video_pixels: pixels of all frames that are kept of a video.
        frames: frames that are kept of a video.
        audio_seconds: length of a sound.
        video_seconds: length of a video.
        decode_seconds: how long one medium may take to open or to decode.
        decoder_bytes: address space of a process that decodes.
        decoders: such processes; 0 for two per core.
        max_tokens: longest answer.
        choices: answers to one request, ``n``.
        stops: stop texts of a request.
        queue: requests that wait, beyond those that are answered.
        per_key: requests of one key at a time, where keys are used; 0 for no limit.
        drain_seconds: how long answers may go on once the server is told to stop.

    Raises:
        ConfigError: a value is below 1 where it must not be.
    """

    body_bytes: int = 32 * MIB
    part_bytes: int = 20 * MIB
    text_chars: int = 8 * MIB
    parts: int = 16
    messages: int = 4096
    depth: int = 64
    pixels: int = 40_000_000
    side_pixels: int = 16_384
    frame_pixels: int = 8_300_000
    video_pixels: int = 500_000_000
    frames: int = 3600
    audio_seconds: float = 600.0
    video_seconds: float = 600.0
    decode_seconds: float = 10.0
    decoder_bytes: int = 1536 * MIB
    decoders: int = 0
    max_tokens: int = 8192
    choices: int = 16
    stops: int = 16
    queue: int = 64
    per_key: int = 8
    drain_seconds: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what nothing could be answered with."""
        free = {"decoders", "per_key", "queue", "drain_seconds"}
        for name in self.__slots__:
            value, least = vars(type(self))[name].__get__(self), 0 if name in free else 1
            if value < least:
                raise ConfigError(f"serve: {name} is {value}, but must be at least {least}.")

    @property
    def media(self) -> Limits:
        """The same for the decoders."""
        return Limits(
            max_file_bytes=self.part_bytes,
            max_pixels=self.pixels,
            max_side_pixels=self.side_pixels,
            max_audio_seconds=self.audio_seconds,
            max_video_seconds=self.video_seconds,
            max_frames=self.frames,
            max_video_bytes=3 * self.video_pixels,
        )

    @property
    def threads(self) -> int:
        """Threads that prepare requests, each with a process that decodes."""
        return self.decoders or 2 * (os.cpu_count() or 1)


class Admission:
    """Counts the requests that are under way and refuses those that are too many.

    Not for threads: all calls come from the event loop.

    Args:
        limits: of the server.
        rows: answers that the engine generates at a time.

    Attributes:
        active: answers under way or waiting.
        draining: whether the server is about to stop and takes nothing more.
    """

    def __init__(self, limits: ServeLimits, rows: int) -> None:
        self.active = 0
        self.draining = False
        self._limits = limits
        self._rows = rows
        self._of_key: Counter[str] = Counter()
        self._mean_seconds = 1.0

    @contextmanager
    def enter(self, key: str, choices: int) -> Iterator[None]:
        """Hold a place for a request inside a ``with`` block.

        Args:
            key: name of the client's key; empty without keys.
            choices: answers that it asks for.

        Raises:
            ApiError: 503 while the server stops, 429 when too many are under way.
        """
        if self.draining:
            raise ApiError(
                "the server is about to stop. Send the request to another, or try again.",
                status=503,
                code="stopping",
                retry_after=_LEAST_WAIT_SECONDS,
            )
        most = self._limits.per_key
        if key and most and self._of_key[key] >= most:
            raise self._full(f"this key has {most} requests under way, which is its limit")
        # One request may ask for more answers than there are rows; alone it is never too many.
        if self.active and self.active + choices > self._rows + self._limits.queue:
            raise self._full(f"{self.active} answers are under way or waiting")
        self.active += choices
        self._of_key[key] += 1
        try:
            yield
        finally:
            self.active -= choices
            self._of_key[key] -= 1
            if not self._of_key[key]:
                del self._of_key[key]

    def took(self, seconds: float) -> None:
        """Note how long a request took, for what clients that must wait are told."""
        self._mean_seconds += 0.1 * (seconds - self._mean_seconds)

    def _full(self, what: str) -> ApiError:
        rounds = self.active / self._rows
        wait = min(max(round(rounds * self._mean_seconds), _LEAST_WAIT_SECONDS), _MOST_WAIT_SECONDS)
        return ApiError(
            f"too many requests: {what}. Try again in {wait} s.",
            status=429,
            code="queue_full",
            retry_after=wait,
        )
