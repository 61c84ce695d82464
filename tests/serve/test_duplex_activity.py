"""When somebody speaks: on made sound, on synthesised words and on recordings."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hocket._errors import ConfigError
from hocket.media.audio import Audio
from hocket.media.resample import Wave, resample
from hocket.serve.duplex.activity import RATE, Activity, ActivityOptions, Begun, Ended

GOLDEN = Path(__file__).parents[1] / "golden" / "vita15_audio"
RNG = np.random.default_rng(0)


def noise(seconds: float, level: float = 1e-3) -> Wave:
    return (level * RNG.standard_normal(round(seconds * RATE))).astype(np.float32)


def tone(seconds: float, level: float = 0.2) -> Wave:
    at = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * 220 * at)).astype(np.float32)


def words(text: str) -> Wave:
    pytest.importorskip("espeakng_loader")
    from hocket.quickstart.speech import Speaker, Take

    with Speaker() as speaker:
        said = speaker.say(Take(word=text, voice="f1"))
        return resample((said / 32768).astype(np.float32), speaker.rate, RATE, "soxr")


def pcm(wave: Wave) -> bytes:
    return (np.clip(wave, -1, 1) * 32767).astype("<i2").tobytes()


def hear(*parts: Wave, step: int = 640, activity: Activity | None = None) -> list[Begun | Ended]:
    data = pcm(np.concatenate(parts))
    listener = activity or Activity()
    found = [listener.push(data[at : at + step]) for at in range(0, len(data), step)]
    return [event for events in found for event in events]


def test_silence_and_steady_noise_are_nothing() -> None:
    assert hear(np.zeros(RATE * 3, np.float32)) == []
    assert hear(noise(5, 1e-3)) == []


def test_a_sound_begins_and_ends_where_it_does() -> None:
    begun, ended = hear(noise(1), tone(1), noise(1))
    assert isinstance(begun, Begun)
    assert isinstance(ended, Ended)
    assert begun.at_s == pytest.approx(1.0, abs=0.05)
    assert ended.at_s == pytest.approx(2.6, abs=0.05)
    assert ended.sound is not None
    assert ended.sound.dtype == np.float32
    assert len(ended.sound) / RATE == pytest.approx(1.9, abs=0.1)


@pytest.mark.parametrize("step", [2, 100, 640, 6400, 10**6])
def test_pieces_of_any_size_give_the_same(step: int) -> None:
    rng = np.random.default_rng(1)
    sound = np.concatenate([np.zeros(8000, np.float32), tone(0.5), np.zeros(16000, np.float32)])
    sound += (1e-3 * rng.standard_normal(len(sound))).astype(np.float32)
    times = [event.at_s for event in hear(sound, step=step if step > 50 else 64)]
    assert times == [event.at_s for event in hear(sound)]
    assert len(times) == 2


def test_a_click_is_no_speech() -> None:
    assert hear(noise(1), tone(0.03), noise(1)) == []
    begun, ended = hear(noise(1), tone(0.12), noise(1))
    assert isinstance(begun, Begun)
    assert isinstance(ended, Ended)
    assert ended.sound is None


def test_a_breath_does_not_end_a_turn() -> None:
    assert len(hear(noise(1), tone(0.5), noise(0.4), tone(0.5), noise(1))) == 2
    assert len(hear(noise(1), tone(0.5), noise(1.0), tone(0.5), noise(1))) == 4


def test_a_fan_becomes_part_of_the_silence() -> None:
    loud = noise(40, 0.03)
    listener = Activity(ActivityOptions(most_seconds=5))
    hear(noise(1), loud, activity=listener)
    assert hear(noise(2, 0.03), activity=listener) == []
    begun, ended = hear(noise(1, 0.03), tone(1, 0.5), noise(1, 0.03), activity=listener)
    assert isinstance(begun, Begun)
    assert isinstance(ended, Ended)


def test_a_long_turn_is_cut() -> None:
    options = ActivityOptions(most_seconds=2)
    events = hear(noise(1), tone(5), noise(1), activity=Activity(options))
    ends = [event for event in events if isinstance(event, Ended)]
    assert len(ends) == 3
    assert all(len(one.sound) <= 2 * RATE for one in ends if one.sound is not None)


def test_words_are_heard_one_turn_each() -> None:
    parts = [noise(0.8)]
    for text in ("what do you see", "stop", "turn left please"):
        parts += [words(text), noise(1.2)]
    events = hear(*parts)
    kinds = [type(event) for event in events]
    assert kinds == [Begun, Ended] * 3
    assert all(event.sound is not None for event in events if isinstance(event, Ended))
    assert all(one.at_s < other.at_s for one, other in pairwise(events))


@pytest.mark.parametrize("name", ["0.wav", "1.wav"])
def test_recordings_of_vita_between_silence(name: str) -> None:
    wave = Audio.from_path(GOLDEN / name).load(RATE)
    quiet = noise(1, 1e-4)
    events = hear(quiet, wave / max(np.abs(wave).max(), 1e-6) * 0.3, quiet)
    assert any(isinstance(event, Begun) for event in events)


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match="hold_db"):
        ActivityOptions(hold_db=20)
