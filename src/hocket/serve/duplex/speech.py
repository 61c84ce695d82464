"""Answers aloud: sentences as they become complete, and what speaks them.

`Espeak` is the default that everybody can have; anything with a rate and `say` takes its place.
Knows texts and samples; must not know sessions.
"""

from __future__ import annotations

import re
import threading
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hocket._errors import ConfigError
from hocket.quickstart.speech import Speaker, Take

_END = re.compile(r"[.!?\u2026]+[\"')\]]*(?=\s)|[\u3002\uff01\uff1f]|\n+")
# Whoever writes no full stop is spoken all the same.
_MOST_CHARS = 300
_SOUNDS = re.compile(r"\w")


class SpeechOutput(Protocol):
    """Speaks sentences; called in a thread, one sentence at a time."""

    @property
    def rate(self) -> int:
        """Samples per second."""
        ...

    def say(self, sentence: str) -> npt.NDArray[np.int16]:
        """Return int16 (L,) samples; none where nothing can be heard."""
        ...


class Espeak:
    """espeak-ng in American English, from the package of the extra ``quickstart``.

    Args:
        voice: one of its variants.
        speed: words per minute, 80 to 450.

    Raises:
        MissingExtraError: the package is not installed.
        MachineError: its library does not start here.
    """

    def __init__(self, *, voice: str = "Annie", speed: int = 170) -> None:
        self._speaker = Speaker()
        self._voice, self._speed = voice, speed
        # The library speaks one sentence at a time, whoever asks.
        self._lock = threading.Lock()

    @property
    def rate(self) -> int:
        """Samples per second."""
        return self._speaker.rate

    def say(self, sentence: str) -> npt.NDArray[np.int16]:
        """Return int16 (L,) samples; none where nothing can be heard."""
        plain = sentence.replace("\0", " ")
        if not _SOUNDS.search(plain):
            return np.zeros(0, np.int16)
        with self._lock:
            try:
                return self._speaker.say(Take(word=plain, voice=self._voice, speed=self._speed))
            except ConfigError:
                return np.zeros(0, np.int16)


class Sentences:
    """Cuts a text that arrives in pieces into sentences."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, piece: str) -> list[str]:
        """Return the sentences that a piece completes."""
        self._text += piece
        found = []
        while end := self._end():
            found.append(self._text[:end].strip())
            self._text = self._text[end:]
        return [one for one in found if one]

    def rest(self) -> str:
        """Return what is left, once the text is complete."""
        found, self._text = self._text.strip(), ""
        return found

    def _end(self) -> int:
        hit = _END.search(self._text)
        if hit:
            return hit.end()
        if len(self._text) <= _MOST_CHARS:
            return 0
        space = self._text.rfind(" ", 0, _MOST_CHARS)
        return space + 1 if space > 0 else _MOST_CHARS
