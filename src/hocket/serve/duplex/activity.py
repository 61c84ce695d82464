"""When somebody speaks: by loudness against a floor that follows the noise of the room.

The floor falls at once and rises slowly, so that a fan becomes part of the silence after a while
and a sentence does not. Knows samples; must not know sessions or models.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from hocket._errors import ConfigError
from hocket.media.resample import Wave

RATE = 16000
"""Samples per second that are listened to."""
FRAME = 320
"""Samples that are judged at a time: 20 ms."""

_FRAME_SECONDS = FRAME / RATE
_SILENCE_DB = -96.0
_FULL_SCALE = 32768.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityOptions:
    """What counts as speech.

    Attributes:
        above_db: how much louder than the floor speech begins.
        hold_db: how much louder than the floor it goes on.
        least_db: loudness relative to full scale below which nothing is speech.
        start_seconds: loud for so long in a row before it is speech.
        end_seconds: quiet for so long before it is over.
        least_seconds: loud for so long in all, or it was a noise.
        most_seconds: the longest turn; what goes on is the next.
        before_seconds: sound that is kept from before the beginning.
        rise_db: how much the floor rises in a second of silence.
        rise_speech_db: how much it rises in a second of speech.

    Raises:
        ConfigError: a time is not above 0, or the levels are out of order.
    """

    above_db: float = 12.0
    hold_db: float = 7.0
    least_db: float = -48.0
    start_seconds: float = 0.08
    end_seconds: float = 0.6
    least_seconds: float = 0.2
    most_seconds: float = 30.0
    before_seconds: float = 0.3
    rise_db: float = 6.0
    rise_speech_db: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what would hear nothing, or never end."""
        times = (self.start_seconds, self.end_seconds, self.most_seconds, self.before_seconds)
        if min(times) <= 0 or not 0 < self.hold_db <= self.above_db:
            raise ConfigError(
                "speech detection: times must be above 0 and hold_db between 0 and above_db. "
                "Correct the options."
            )


@dataclass(frozen=True, slots=True)
class Begun:
    """Somebody began to speak.

    Attributes:
        at_s: when, in seconds of sound since the start.
    """

    at_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """Nobody speaks any more.

    Attributes:
        at_s: when that is known, in seconds of sound since the start.
        sound: float32 (L,), what was said with a little before and behind; None for a noise that
            was too short.
    """

    at_s: float
    sound: Wave | None


class Activity:
    """Listens to one person.

    Args:
        options: what counts as speech.

    Attributes:
        floor_db: loudness of the room, relative to full scale.
        speaking: whether somebody speaks.
    """

    def __init__(self, options: ActivityOptions | None = None) -> None:
        self.options = options or ActivityOptions()
        self.floor_db = self.options.least_db - self.options.above_db
        self.speaking = False
        self._rest: Wave = np.zeros(0, np.float32)
        before = self.options.before_seconds + self.options.start_seconds
        self._before: deque[Wave] = deque(maxlen=_frames(before))
        self._turn: list[Wave] = []
        self._count = 0
        self._loud = 0  # in a row while it is quiet, in all while somebody speaks
        self._quiet = 0  # in a row

    @property
    def heard_seconds(self) -> float:
        """Sound that was judged since the start."""
        return self._count * _FRAME_SECONDS

    def push(self, data: bytes) -> list[Begun | Ended]:
        """Listen on; return what began and ended, in order.

        Args:
            data: 16-bit little-endian samples at `RATE`; an even number of bytes.
        """
        more = np.frombuffer(data, "<i2").astype(np.float32) / _FULL_SCALE
        whole = np.concatenate([self._rest, more])
        used = len(whole) // FRAME * FRAME
        self._rest = whole[used:]
        found: list[Begun | Ended] = []
        for start in range(0, used, FRAME):
            event = self._judge(whole[start : start + FRAME])
            if event is not None:
                found.append(event)
        return found

    def _judge(self, frame: Wave) -> Begun | Ended | None:
        self._count += 1
        level = _level_db(frame)
        margin = self.options.hold_db if self.speaking else self.options.above_db
        loud = level > max(self.floor_db + margin, self.options.least_db)
        self._follow(level, loud=loud)
        return self._go_on(frame, loud=loud) if self.speaking else self._wait(frame, loud=loud)

    def _follow(self, level: float, *, loud: bool) -> None:
        """Let the floor follow the room."""
        if level < self.floor_db:
            self.floor_db += 0.3 * (level - self.floor_db)
            return
        rise = self.options.rise_speech_db if loud else self.options.rise_db
        self.floor_db = min(self.floor_db + rise * _FRAME_SECONDS, level)

    def _wait(self, frame: Wave, *, loud: bool) -> Begun | None:
        self._before.append(frame)
        self._loud = self._loud + 1 if loud else 0
        if self._loud < _frames(self.options.start_seconds):
            return None
        self.speaking, self._quiet = True, 0
        self._turn = list(self._before)
        self._before.clear()
        return Begun(self.heard_seconds - self._loud * _FRAME_SECONDS)

    def _go_on(self, frame: Wave, *, loud: bool) -> Ended | None:
        self._turn.append(frame)
        self._loud += loud
        self._quiet = 0 if loud else self._quiet + 1
        long = len(self._turn) >= _frames(self.options.most_seconds)
        if self._quiet < _frames(self.options.end_seconds) and not long:
            return None
        noise = self._loud < _frames(self.options.least_seconds)
        sound = None if noise else np.concatenate(self._turn)
        self.speaking, self._loud, self._turn = False, 0, []
        return Ended(self.heard_seconds, sound)


def _level_db(frame: Wave) -> float:
    power = float(np.mean(np.square(frame - frame.mean())))
    return max(10 * np.log10(power), _SILENCE_DB) if power > 0 else _SILENCE_DB


def _frames(seconds: float) -> int:
    return max(round(seconds / _FRAME_SECONDS), 1)
