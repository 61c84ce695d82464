"""Words spoken by espeak-ng, a speech synthesizer that comes as a pip package with its voices.

Knows espeak-ng's C interface and samples; must not know files, questions or models.
"""

from __future__ import annotations

import ctypes
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from hocket._errors import ConfigError, MachineError, MissingExtraError, UnknownNameError
from hocket.data.seed import generator

Samples: TypeAlias = npt.NDArray[np.int16]

DIGIT_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
)  # fmt: skip
DIRECTION_WORDS = ("left", "right", "up", "down")
WORDS = DIGIT_WORDS + DIRECTION_WORDS

# Clear voices that sound like people. Left out: whispering, creaking and robotic ones, those so
# loud that they clip, near copies of a held-out voice, and Reed, whose breath no seed repeats.
TRAIN_VOICES = (
    "f1", "f2", "f4", "f5", "Alicia", "Annie", "aunty", "grandma", "linda", "shelby", "steph",
    "m1", "m2", "m3", "m5", "m6", "m8", "adam", "Denis", "Hugo", "marcelo", "Mario", "max",
    "Nguyen",
)  # fmt: skip
HELDOUT_VOICES = ("f3", "belinda", "m4", "Michael")

# Numbers from espeak-ng's speak_lib.h.
_OUTPUT_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_POSITION_CHARACTER = 1
_CHARS_UTF8 = 1
_PARAMETER_SPEED = 1
_PARAMETER_PITCH = 3
_PARAMETER_RANGE = 4

_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_BYTES_PER_SAMPLE = 2
_SILENCE_SHARE = 0.02
_MARGIN_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """One word said once.

    Attributes:
        word: what is said.
        voice: name of an espeak-ng variant, see `Speaker.voices`.
        speed: words per minute, 80 to 450.
        pitch: height of the voice, 0 to 99; 50 is the voice's own.
        pitch_range: liveliness of the melody, 0 to 99; 50 is the voice's own.
    """

    word: str
    voice: str
    speed: int = 160
    pitch: int = 50
    pitch_range: int = 50


def draw_takes(
    words: Sequence[str], voices: Sequence[str], *, repeats: int, seed: int
) -> list[Take]:
    """Let every voice say every word `repeats` times, at varied speed and pitch.

    Args:
        words: what is said.
        voices: who says it.
        repeats: takes of each word by each voice.
        seed: seed of speeds (120 to 200), pitches (30 to 70) and pitch ranges (30 to 70).

    Returns:
        ``len(voices) * len(words) * repeats`` takes, all of one voice beside each other.
    """
    takes = []
    for voice in voices:
        for word in words:
            rng = generator(seed, "take", voice, word)
            takes += [
                Take(
                    word=word,
                    voice=voice,
                    speed=int(rng.integers(120, 201)),
                    pitch=int(rng.integers(30, 71)),
                    pitch_range=int(rng.integers(30, 71)),
                )
                for _ in range(repeats)
            ]
    return takes


class Speaker:
    """A speech synthesizer with American English and many voices.

    Two speakers with the same seed that are asked for the same takes in the same order return
    the same samples. The sound of a take depends a little on those before it, as breath and
    flutter go on from one to the next.

    Attributes:
        rate: samples per second.

    Args:
        seed: seed of breath and other noise.

    Raises:
        MissingExtraError: the package with espeak-ng is not installed.
        MachineError: its library cannot be loaded or started here.
    """

    def __init__(self, *, seed: int = 0) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise MissingExtraError("espeakng-loader", "quickstart") from error
        self._data = Path(espeakng_loader.get_data_path())
        self._library = _load_copy(Path(espeakng_loader.get_library_path()))
        self._chunks: list[bytes] = []
        # espeak-ng keeps the bare pointer, so the callback must live as long as the speaker.
        self._callback = _CALLBACK(self._receive)
        self.rate: int = self._library.espeak_Initialize(
            _OUTPUT_SYNCHRONOUS, 0, str(self._data).encode(), _DONT_EXIT
        )
        if self.rate <= 0:
            raise MachineError(
                f"espeak-ng does not start with the voices in {self._data}. "
                f"Run: pip install --force-reinstall espeakng-loader"
            )
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        self._voice = ""

    def __enter__(self) -> Speaker:
        """Return the speaker itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the speaker."""
        self.close()

    def close(self) -> None:
        """Free the synthesizer's memory; the speaker cannot be used afterwards."""
        self._library.espeak_Terminate()

    def voices(self) -> list[str]:
        """Return the names of all variants, good or strange, that `say` accepts."""
        return sorted(path.name for path in (self._data / "voices" / "!v").iterdir())

    def say(self, take: Take) -> Samples:
        """Speak one take.

        Returns:
            int16 (L,) samples at `rate`, without the silence before and after.

        Raises:
            UnknownNameError: no such voice.
            ConfigError: nothing can be heard, as when the word is empty.
        """
        self._choose(take)
        self._chunks.clear()
        text = take.word.encode() + b"\0"
        status = self._library.espeak_Synth(
            text, ctypes.c_size_t(len(text)), 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None
        )
        samples = _trim(np.frombuffer(b"".join(self._chunks), np.int16), self.rate)
        if status or not samples.size:
            raise ConfigError(f"espeak-ng is silent for {take}. Check the word.")
        return samples

    def _choose(self, take: Take) -> None:
        if take.voice != self._voice:
            # For an unknown variant espeak-ng would speak in its default voice and report success.
            if take.voice not in self.voices():
                raise UnknownNameError("voice", take.voice, self.voices())
            name = f"en-us+{take.voice}".encode()
            if self._library.espeak_SetVoiceByName(name):
                raise MachineError(f"espeak-ng cannot open voice {take.voice} in {self._data}.")
            self._voice = take.voice
        for parameter, value in (
            (_PARAMETER_SPEED, take.speed),
            (_PARAMETER_PITCH, take.pitch),
            (_PARAMETER_RANGE, take.pitch_range),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)

    def _receive(self, samples: int | None, count: int, events: int | None) -> int:
        if samples and count > 0:
            self._chunks.append(ctypes.string_at(samples, count * _BYTES_PER_SAMPLE))
        return 0


def _load_copy(library: Path) -> ctypes.CDLL:
    """Load a private copy, because the library keeps its state in global variables.

    With the one shared copy, what a speaker says would depend on what an earlier one said.
    """
    # Windows cannot delete a library that is in use; elsewhere the copy vanishes at once.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            copy = Path(shutil.copy(library, folder))
            return ctypes.CDLL(str(copy))
        except OSError as error:
            raise MachineError(
                f"the speech library {library} cannot be loaded: {error}. "
                f"Run: pip install --force-reinstall espeakng-loader"
            ) from error


def _trim(samples: Samples, rate: int) -> Samples:
    """Cut what is below 2 % of the peak from both ends, but for 20 ms."""
    level = np.abs(samples.astype(np.int32))
    if not level.size or not level.max():
        return samples[:0]
    loud = np.flatnonzero(level > level.max() * _SILENCE_SHARE)
    margin = int(_MARGIN_SECONDS * rate)
    return samples[max(loud[0] - margin, 0) : loud[-1] + margin + 1]
