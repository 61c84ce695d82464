from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import WhisperFeatureExtractor

from hocket._errors import ConfigError
from hocket.tokens.layout.audio_mel import AudioMel


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("samples", [1, 159, 400, 16000, 81234, 479999, 480000])
def test_features_are_those_of_whisper(samples: int, mels: int) -> None:
    rng = np.random.default_rng(samples)
    wave = 0.3 * rng.standard_normal(samples).astype(np.float32)
    layout = AudioMel(mels=mels)
    own = layout.units(wave, layout.plan(samples))
    twin = WhisperFeatureExtractor(feature_size=mels)
    expected = twin(wave, sampling_rate=16000, return_tensors="np")["input_features"]
    assert own.shape == expected.shape == (1, mels, 3000)
    assert own.dtype == np.float32
    assert np.abs(own - expected).max() <= 1e-5


def test_silence_and_a_tone_are_those_of_whisper() -> None:
    tone = np.sin(np.arange(32000) * 0.2).astype(np.float32)
    layout, twin = AudioMel(), WhisperFeatureExtractor()
    for wave in (tone, np.zeros(8000, np.float32)):
        expected = twin(wave, sampling_rate=16000, return_tensors="np")["input_features"]
        assert np.abs(layout.units(wave, layout.plan(len(wave))) - expected).max() <= 1e-5


def test_a_long_sound_becomes_chunks_that_whisper_would_make() -> None:
    wave = np.random.default_rng(0).standard_normal(16000 * 70).astype(np.float32)
    layout, twin = AudioMel(), WhisperFeatureExtractor()
    units = layout.units(wave, layout.plan(len(wave)))
    assert units.shape == (3, 80, 3000)
    for number, unit in enumerate(units):
        part = wave[number * 480000 : (number + 1) * 480000]
        expected = twin(part, sampling_rate=16000, return_tensors="np")["input_features"][0]
        assert np.abs(unit - expected).max() <= 1e-5


def test_rows_follow_the_length() -> None:
    layout = AudioMel(chunk_seconds=1.0, frames_per_row=4)
    assert [layout.plan(n).rows for n in (1, 1280, 1281, 16000, 16001)] == [1, 1, 2, 13, 14]
    assert layout.plan(16001).valid == (50, 1)
    whole = AudioMel(chunk_seconds=1.0, frames_per_row=4, trim=False)
    assert [whole.plan(n).rows for n in (1, 16000, 16001)] == [13, 13, 26]


@given(samples=st.integers(1, 40000))
def test_rows_behind_a_pool_are_those_of_qwen2_audio(samples: int) -> None:
    layout = AudioMel(chunk_seconds=2.56, encoder_pool=2)
    plan = layout.plan(samples)
    mel = -(-samples // 160)
    positions = (min(mel, 256) - 1) // 2 + 1
    assert layout.lengths(plan)[0] == positions
    assert (plan.valid or ())[0] == (positions - 2) // 2 + 1
    assert plan.rows == sum(plan.valid or ())
    assert plan.patches == (1, 64)


@given(
    samples=st.integers(1, 40000),
    frames_per_row=st.integers(1, 9),
    encoder_pool=st.integers(1, 3),
    trim=st.booleans(),
    drop_rest=st.booleans(),
)
def test_capacity_is_the_longest_sound_of_a_plan(
    samples: int, frames_per_row: int, encoder_pool: int, trim: bool, drop_rest: bool
) -> None:
    layout = AudioMel(
        chunk_seconds=0.5,
        frames_per_row=frames_per_row,
        encoder_pool=encoder_pool,
        trim=trim,
        drop_rest=drop_rest,
    )
    plan = layout.plan(samples)
    longest = layout.capacity(plan)
    assert longest >= samples
    assert layout.plan(longest).rows == plan.rows
    more = layout.plan(longest + 1)
    assert (more.rows, more.units) != (plan.rows, plan.units)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"chunk_seconds": 0.51}, "multiple of 320.*Try 0.52"),
        ({"chunk_seconds": 0.0}, "chunk_seconds"),
        ({"mels": 0}, "mels is 0"),
        ({"frames_per_row": 0}, "frames_per_row is 0"),
        ({"rate": -1}, "rate is -1"),
    ],
)
def test_impossible_numbers_are_refused(options: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        AudioMel(**options)  # type: ignore[arg-type] # the numbers are of the fields' types
