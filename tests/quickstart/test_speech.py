"""Words can be heard, voices differ, and the same request gives the same samples."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import espeakng_loader
import numpy as np
import pytest

from hocket._errors import ConfigError, MachineError, MissingExtraError, UnknownNameError
from hocket.quickstart.speech import (
    HELDOUT_VOICES,
    TRAIN_VOICES,
    WORDS,
    Speaker,
    Take,
    draw_takes,
)


@pytest.fixture(scope="module")
def speaker() -> Iterator[Speaker]:
    with Speaker() as speaker:
        yield speaker


def test_every_word_of_every_voice_is_short_and_loud(speaker: Speaker) -> None:
    for take in draw_takes(WORDS, TRAIN_VOICES + HELDOUT_VOICES, repeats=1, seed=0):
        samples = speaker.say(take)
        assert samples.dtype == np.int16
        assert 0.2 < len(samples) / speaker.rate < 1.0, take
        assert np.sqrt(np.mean(samples.astype(np.float64) ** 2)) > 500, take
        assert np.mean(np.abs(samples.astype(np.int32)) >= 32760) < 0.001, take


def test_rate_is_not_the_one_of_the_model(speaker: Speaker) -> None:
    assert speaker.rate == 22050


def test_silence_is_cut_off(speaker: Speaker) -> None:
    samples = np.abs(speaker.say(Take(word="six", voice="f2")).astype(np.int32))
    edge = int(0.021 * speaker.rate) + 1
    assert samples[:edge].max() > 0.02 * samples.max()
    assert samples[-edge:].max() > 0.02 * samples.max()


def test_no_voice_is_both_trained_and_held_out(speaker: Speaker) -> None:
    assert not set(TRAIN_VOICES) & set(HELDOUT_VOICES)
    assert set(TRAIN_VOICES + HELDOUT_VOICES) <= set(speaker.voices())


def test_same_requests_give_the_same_samples() -> None:
    takes = draw_takes(("zero", "six", "left"), TRAIN_VOICES + HELDOUT_VOICES, repeats=1, seed=5)
    spoken = []
    for _ in range(2):
        with Speaker(seed=7) as speaker:
            spoken.append([speaker.say(take) for take in takes])
    for take, first, again in zip(takes, *spoken, strict=True):
        assert np.array_equal(first, again), take


def test_speed_and_pitch_are_heard(speaker: Speaker) -> None:
    slow = speaker.say(Take(word="seven", voice="m3", speed=120))
    fast = speaker.say(Take(word="seven", voice="m3", speed=200))
    assert len(slow) > 1.3 * len(fast)
    low = speaker.say(Take(word="one", voice="m3", pitch=20))
    high = speaker.say(Take(word="one", voice="m3", pitch=80))
    assert _pitch(high, speaker.rate) > 1.2 * _pitch(low, speaker.rate)


def test_voices_differ(speaker: Speaker) -> None:
    man = speaker.say(Take(word="one", voice="m1"))
    woman = speaker.say(Take(word="one", voice="linda"))
    assert _pitch(woman, speaker.rate) > 1.5 * _pitch(man, speaker.rate)


def test_unknown_voice_is_refused(speaker: Speaker) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'Alicia'"):
        speaker.say(Take(word="one", voice="Alicja"))


def test_silence_is_refused(speaker: Speaker) -> None:
    with pytest.raises(ConfigError, match="silent"):
        speaker.say(Take(word="", voice="f1"))


def test_takes_are_varied_and_depend_on_the_seed() -> None:
    takes = draw_takes(WORDS, TRAIN_VOICES[:3], repeats=4, seed=0)
    assert len(takes) == len(set(takes)) == 14 * 3 * 4
    assert min(take.speed for take in takes) >= 120
    assert max(take.speed for take in takes) <= 200
    assert takes == draw_takes(WORDS, TRAIN_VOICES[:3], repeats=4, seed=0)
    assert takes != draw_takes(WORDS, TRAIN_VOICES[:3], repeats=4, seed=1)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingExtraError, match=r"espeakng-loader.*hocket\[quickstart\]"):
        Speaker()


def test_damaged_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    damaged = tmp_path / "libespeak-ng.so"
    damaged.write_bytes(b"not a library")
    monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: str(damaged))
    with pytest.raises(MachineError, match="cannot be loaded"):
        Speaker()


def _pitch(samples: np.ndarray, rate: int) -> float:
    """Return the fundamental frequency in Hz, from the autocorrelation of the middle."""
    middle = samples[len(samples) // 4 :][: rate // 10].astype(np.float64)
    echo = np.correlate(middle, middle, "full")[len(middle) - 1 :]
    shortest, longest = rate // 400, rate // 60
    return rate / (shortest + int(np.argmax(echo[shortest:longest])))
