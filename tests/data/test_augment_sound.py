from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from hocket._errors import ConfigError
from hocket.data.augment import Augmenter
from hocket.tokens.layout.audio_wave import AudioWave
from hocket.tokens.span import Modality, Plan

RATE = 16000
SECOND = np.arange(RATE) / RATE
TONE = (0.3 * np.sin(2 * np.pi * 500 * SECOND)).astype(np.float32)
WAVE = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
CLICK = np.zeros(RATE, np.float32)
CLICK[1000] = 1.0


def apply(
    name: str,
    wave: np.ndarray,
    *,
    seed: int = 0,
    rate: int = RATE,
    limit: int | None = None,
    **options: Any,
) -> np.ndarray:
    bound = Augmenter({name: options}, seed=seed, rate=rate).bind(epoch=0, sample="a/0")
    return bound(Modality.AUDIO, wave, index=0, limit=limit)


def peak_hz(wave: np.ndarray, rate: int = RATE) -> float:
    return float(np.abs(np.fft.rfft(wave * np.hanning(len(wave)))).argmax() * rate / len(wave))


def db(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(one**2) / np.mean(other**2)))


@pytest.mark.parametrize("colour", ["white", "pink"])
def test_noise_has_the_asked_ratio(colour: str) -> None:
    options = {"low_db": 5.0, "high_db": 5.0, "chance": 1.0, "colour": colour}
    noisy = apply("noise", TONE, **options)
    assert db(TONE, noisy - TONE) == pytest.approx(5, abs=0.2)


def test_pink_noise_has_equal_octaves_and_white_noise_equal_bands() -> None:
    silence_but_one = np.full(4 * RATE, 1e-3, np.float32)
    levels = {}
    for colour in ("white", "pink"):
        added = apply("noise", silence_but_one, low_db=0, high_db=0, chance=1, colour=colour)
        bins = np.abs(np.fft.rfft(added - silence_but_one)) ** 2
        octaves = [bins[4 * low : 8 * low].sum() for low in (250, 500, 1000, 2000)]
        levels[colour] = 10 * np.log10(np.array(octaves[1:]) / octaves[:-1])
    assert np.abs(levels["pink"]).max() < 0.6
    assert np.abs(levels["white"] - 3).max() < 0.6


def test_noise_comes_from_a_folder_at_the_right_rate(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    hum = np.sin(2 * np.pi * 1000 * np.arange(4000) / 8000)
    soundfile.write(tmp_path / "deep" / "hum.wav", hum, 8000)
    options = {"low_db": 0, "high_db": 0, "chance": 1, "folder": str(tmp_path)}
    added = apply("noise", WAVE, **options) - WAVE
    assert peak_hz(added) == pytest.approx(1000, abs=5)
    assert db(WAVE, added) == pytest.approx(0, abs=0.1)
    with pytest.raises(ConfigError, match=r"data\.augment\.reverb\.folder: no WAV file in"):
        Augmenter({"reverb": {"folder": str(tmp_path / "none")}}, seed=0)


def test_a_slower_sound_is_as_slow_as_its_limit_admits() -> None:
    slow = apply("speed", TONE, low=0.5, high=0.5, limit=17000)
    assert 16990 <= len(slow) <= 17000
    assert peak_hz(slow) == pytest.approx(500 * RATE / 17000, abs=2)


def test_a_slower_sound_may_keep_its_pitch() -> None:
    slow = apply("speed", TONE, low=0.8, high=0.8, keep_pitch=True)
    assert len(slow) == int(len(TONE) / 0.8)
    assert peak_hz(slow) == pytest.approx(500, abs=3)


@pytest.mark.parametrize("name", ["speed", "pitch"])
def test_a_share_of_the_sounds_is_changed(name: str) -> None:
    short = TONE[:4000]
    changed = [apply(name, short, seed=seed, chance=0.3) is not short for seed in range(200)]
    assert 0.2 < sum(changed) / 200 < 0.4


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pitch_moves_a_tone_and_keeps_its_length_and_loudness(rate: int, seed: int) -> None:
    time = np.arange(rate) / rate
    tone = (0.3 * np.sin(2 * np.pi * 500 * time)).astype(np.float32)
    moved = apply("pitch", tone, seed=seed, rate=rate, semitones=6)
    assert len(moved) == len(tone)
    semitones = 12 * np.log2(peak_hz(moved, rate) / 500)
    assert abs(semitones) <= 6.1
    assert abs(semitones) > 0.1
    inner = slice(rate // 8, -rate // 8)
    assert db(moved[inner], tone[inner]) == pytest.approx(0, abs=0.6)


def test_pitch_shifts_by_the_drawn_semitones_both_ways() -> None:
    moves = [
        12 * np.log2(peak_hz(apply("pitch", TONE, seed=s, semitones=3)) / 500) for s in range(16)
    ]
    assert -3.1 < min(moves) < -1
    assert 1 < max(moves) < 3.1


def test_pitch_keeps_events_where_they_are() -> None:
    envelope = np.zeros(RATE)
    for start in (3000, 9000):
        envelope[start : start + 2000] = np.hanning(2000)
    bursts = (TONE * envelope).astype(np.float32)
    for seed in range(4):
        moved = apply("pitch", bursts, seed=seed, semitones=5)
        for start in (3000, 9000):
            piece = np.square(moved[start - 1500 : start + 3500])
            centre = (piece * np.arange(len(piece))).sum() / piece.sum() + start - 1500
            assert centre == pytest.approx(start + 1000, abs=150)


def test_reverberation_decays_by_60_db_in_its_time() -> None:
    options = {"chance": 1, "wet": 0.9, "low_seconds": 0.4, "high_seconds": 0.4}
    energy = np.mean(
        [np.square(apply("reverb", CLICK, seed=seed, **options)[1001:]) for seed in range(40)],
        axis=0,
    )
    early, late = energy[0:800].mean(), energy[4000:4800].mean()
    # 4000 samples are a quarter of a second, so 37.5 of the 60 dB.
    assert 10 * np.log10(early / late) == pytest.approx(37.5, abs=1.5)
    assert energy[6400:].max() < 1e-7 * energy.max()


def test_reverberation_keeps_what_was_before_and_how_loud_it_is() -> None:
    for seed in range(10):
        heard = apply("reverb", CLICK, seed=seed, chance=1, wet=0.5)
        assert np.abs(heard[:1000]).max() < 1e-6
        assert db(heard, CLICK) == pytest.approx(0, abs=0.01)
        # At most half of the energy is reverberation, so the direct sound stays the loudest.
        assert heard[1000] == np.abs(heard).max()
        assert heard[1000] ** 2 > 0.45


def test_a_recorded_room_starts_at_its_peak(tmp_path: Path) -> None:
    response = np.zeros(400)
    response[100], response[250] = 0.8, 0.4
    soundfile.write(tmp_path / "room.wav", response, RATE, subtype="FLOAT")
    heard = apply("reverb", CLICK, chance=1, wet=0.9, folder=str(tmp_path))
    found = np.flatnonzero(np.abs(heard) > 1e-3).tolist()
    assert found == [1000, 1150]


MEL = np.random.default_rng(0).standard_normal((2, 40, 100)).astype(np.float32)
PLAN = Plan(units=2, patches=(1, 50), rows=8, grid=(8, 1, 1), valid=(50, 30))


def retouch(seed: int, **options: Any) -> np.ndarray:
    bound = Augmenter({"spec_augment": options}, seed=seed).bind(epoch=0, sample="a/0")
    return bound.retouch(Modality.AUDIO, MEL, index=0, plan=PLAN)


def test_time_masks_are_stretches_of_what_is_heard() -> None:
    widths = []
    for seed in range(60):
        masked = retouch(seed, time_masks=1, time_share=0.25, mel_masks=0)
        covered = (masked != MEL).all(axis=1)
        assert not (masked != MEL).any(axis=1)[~covered].any()
        # Two units in a row, of which the second is heard for 60 mel frames.
        line = np.concatenate([covered[0], covered[1, :60]])
        assert not covered[1, 60:].any()
        where = np.flatnonzero(line)
        widths.append(len(where))
        assert len(where) == 0 or where[-1] - where[0] + 1 == len(where)
        mean = np.concatenate([MEL[0], MEL[1, :, :60]], axis=1).mean()
        assert np.allclose(masked[masked != MEL], mean, atol=1e-5)
    assert max(widths) <= 40
    assert max(widths) > 30
    assert min(widths) < 10


def test_mel_masks_are_the_same_bands_in_every_unit() -> None:
    widths = []
    for seed in range(60):
        masked = retouch(seed, time_masks=0, mel_masks=1, mel_share=0.5)
        bands = [(masked[unit] != MEL[unit]).any(axis=1) for unit in (0, 1)]
        assert np.array_equal(*bands)
        assert np.array_equal(masked[1, :, 60:], MEL[1, :, 60:])
        where = np.flatnonzero(bands[0])
        widths.append(len(where))
        assert len(where) == 0 or where[-1] - where[0] + 1 == len(where)
    assert 15 < max(widths) <= 20


def test_raw_samples_have_no_mel_bins_to_cover() -> None:
    layout = AudioWave()
    plan = layout.plan(len(WAVE))
    bound = Augmenter({"spec_augment": {}}, seed=0).bind(epoch=0, sample="a/0")
    with pytest.raises(ConfigError, match=r"hears raw samples \(layout audio_wave\)"):
        bound.retouch(Modality.AUDIO, layout.units(WAVE, plan), index=0, plan=plan)
