from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from hocket._errors import ConfigError, MediaError
from hocket.media.audio import Audio
from hocket.tokens.layout.audio_fbank import AudioFbank, log_fbank

GOLDEN = Path(__file__).parents[2] / "golden" / "vita15_audio"


def bank(wave: np.ndarray) -> np.ndarray:
    return log_fbank(torch.from_numpy(wave), mels=80, rate=16000, low_hz=20, high_hz=8000).numpy()


def noise(samples: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(samples).standard_normal(samples, dtype=np.float32)


@pytest.mark.parametrize("name", ["0", "1", "resample"])
def test_features_are_those_of_vita(name: str) -> None:
    golden = load_file(GOLDEN / "features.safetensors")
    expected = golden["audio.resample.fbank"]
    if name != "resample":
        expected = golden["whale.input"][int(name)][: golden["whale.lengths"][int(name)]]
    layout = AudioFbank()
    wave = Audio.from_path(GOLDEN / f"{name}.wav").load(layout.rate, resampler=layout.resampler)
    assert layout.frames(len(wave)) == len(expected)
    np.testing.assert_allclose(bank(wave), expected.numpy(), rtol=1e-5, atol=1e-5)


def test_features_are_those_that_transformers_computes_without_torchaudio() -> None:
    wave = noise(8000)
    filters = mel_filter_bank(
        num_frequency_bins=257,
        num_mel_filters=80,
        min_frequency=20,
        max_frequency=8000,
        sampling_rate=16000,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    expected = spectrogram(
        wave * 2**15,
        window_function(400, "povey", periodic=False),
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=filters,
        log_mel="log",
        mel_floor=1.192092955078125e-07,
        remove_dc_offset=True,
    ).T
    np.testing.assert_allclose(bank(wave), expected, rtol=1e-4, atol=1e-3)


def test_silence_is_the_smallest_step_of_single_precision() -> None:
    assert np.allclose(bank(np.zeros(800, np.float32)), math.log(2**-23))


def test_rows_are_those_of_vita() -> None:
    layout = AudioFbank(frames_per_row=2)
    table = json.loads((GOLDEN / "lengths.json").read_text())["rows_of_frames"]
    for frames, rows in table.items():
        shortest = 400 + 160 * (int(frames) - 1)
        for samples in (shortest, shortest + 159):
            assert layout.frames(samples) == int(frames)
            assert layout.plan(samples).rows == rows
    # 10 s: 998 frames, 248 positions, 124 rows.
    assert sum(layout.lengths(layout.plan(160000))) == 248
    assert layout.plan(160000).rows == 124


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60000), st.integers(1, 30))
def test_blocks_hold_every_frame_that_a_position_reads(samples: int, block: int) -> None:
    layout = AudioFbank(block=block)
    plan = layout.plan(samples)
    wave = noise(samples)
    units = layout.units(wave, plan)
    assert units.shape == (plan.units, 80, 4 * block + 3)
    whole = bank(np.pad(wave, (0, max(0, 1360 - samples))))
    mask = np.ones(len(whole))[2::2][2::2]
    assert sum(layout.lengths(plan)) == len(mask)
    for unit, length in enumerate(layout.lengths(plan)):
        start = 4 * unit * block
        real = units[unit, :, : 4 * length + 3]
        np.testing.assert_allclose(
            real, whole[start : start + 4 * length + 3].T, rtol=1e-5, atol=1e-4
        )
        assert not units[unit, :, 4 * length + 3 :].any()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 100000), st.integers(1, 7))
def test_no_longer_sound_keeps_the_rows(samples: int, frames: int) -> None:
    layout = AudioFbank(block=12, frames_per_row=frames)
    plan = layout.plan(samples)
    most = layout.capacity(plan)
    assert most >= samples
    assert layout.plan(most).rows == plan.rows
    assert layout.plan(most + 1).rows > plan.rows
    longer = layout.units(noise(most), plan)
    assert np.array_equal(longer, layout.units(noise(most)[:most], plan))


def test_a_sound_that_an_augmentation_made_shorter_ends_in_silence() -> None:
    layout = AudioFbank()
    plan = layout.plan(16000)
    units = layout.units(noise(16000)[:8000], plan)
    filled = np.concatenate([noise(16000)[:8000], np.zeros(8000, np.float32)])
    assert np.array_equal(units, layout.units(filled, plan))


def test_learned_rows_and_rows_of_a_whole_block_are_counted() -> None:
    assert AudioFbank(frames_per_row=2, extra_rows=25).plan(16000).rows == 12 + 25
    plan = AudioFbank(rows_per_unit=4, extra_rows=1).plan(40000)
    assert (plan.units, plan.rows) == (3, 13)
    assert AudioFbank(rows_per_unit=4).plan(AudioFbank(rows_per_unit=4).capacity(plan)).rows == 12


def test_without_trimming_the_last_block_is_silence_that_is_heard() -> None:
    layout = AudioFbank(trim=False)
    plan = layout.plan(8000)
    assert layout.lengths(plan) == [24]
    assert plan.rows == 24
    unit = layout.units(noise(8000), plan)[0]
    assert np.allclose(unit[:, -1], math.log(2**-23))


def test_a_sound_beyond_the_encoder_is_refused_with_both_lengths() -> None:
    layout = AudioFbank(max_positions=5000)
    assert sum(layout.lengths(layout.plan(16000 * 200))) == 4998
    with pytest.raises(MediaError, match=r"312.0 s.*7798 positions, at most 5000 \(200.0 s\)"):
        layout.plan(16000 * 312)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mels": 0}, "mels is 0"),
        ({"block": 0}, "block is 0"),
        ({"encoder_window": 3}, "encoder_window 3 is less than encoder_stride 4"),
        ({"high_hz": 9000.0}, "expected 0 <= low_hz < high_hz <= 8000"),
        ({"low_hz": 8000.0}, "expected 0 <= low_hz < high_hz"),
    ],
)
def test_impossible_numbers_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AudioFbank(**options)  # type: ignore[arg-type] # wrong on purpose
