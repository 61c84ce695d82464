from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Wav2Vec2FeatureExtractor

from hocket._errors import ConfigError
from hocket.tokens.layout.audio_wave import AudioWave


def noise(samples: int) -> np.ndarray:
    rng = np.random.default_rng(samples)
    return 0.2 + 0.1 * rng.standard_normal(samples, dtype=np.float32)


@settings(max_examples=25, deadline=None)
@given(st.integers(400, 60000), st.integers(1, 60))
def test_blocks_hold_the_sound_as_transformers_normalises_it(samples: int, block: int) -> None:
    wave = noise(samples)
    layout = AudioWave(block=block)
    plan = layout.plan(samples)
    units = layout.units(wave, plan)
    step = 320 * block
    assert units.shape == (plan.units, 2, step + 399)
    assert sum(layout.lengths(plan)) == (samples - 400) // 320 + 1
    both = np.concatenate([units[:-1, :, :step].swapaxes(0, 1).reshape(2, -1), units[-1]], axis=1)
    assert both[1].sum() == samples
    twin = Wav2Vec2FeatureExtractor(do_normalize=True)
    expected = twin(wave, sampling_rate=16000, return_tensors="np")["input_values"][0]
    np.testing.assert_allclose(both[0, both[1] > 0], expected, atol=1e-5)
    for before, after in pairwise(units):
        assert np.array_equal(before[:, step:], after[:, :399])


def test_a_sound_keeps_its_loudness_where_it_is_not_normalised() -> None:
    wave = noise(1000)
    layout = AudioWave(normalise=False)
    assert np.array_equal(layout.units(wave, layout.plan(1000))[0, 0, :1000], wave)


def test_sounds_too_short_for_one_frame_are_followed_by_silence() -> None:
    layout = AudioWave()
    plan = layout.plan(7)
    units = layout.units(np.ones(7, np.float32), plan)
    assert layout.lengths(plan) == [1]
    assert units[0, 1].sum() == 400


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 100000), st.integers(1, 7))
def test_no_longer_sound_keeps_the_rows(samples: int, frames: int) -> None:
    layout = AudioWave(block=12, frames_per_row=frames)
    plan = layout.plan(samples)
    most = layout.capacity(plan)
    assert most >= samples
    assert layout.plan(most).rows == plan.rows
    assert layout.plan(most + 1).rows > plan.rows


def test_learned_rows_and_rows_of_a_whole_block_are_counted() -> None:
    assert AudioWave(frames_per_row=2, extra_rows=3).plan(16000).rows == 25 + 3
    plan = AudioWave(rows_per_unit=4, extra_rows=1).plan(32000)
    assert (plan.units, plan.rows) == (3, 13)


def test_without_trimming_the_last_block_is_silence_that_is_heard() -> None:
    layout = AudioWave(trim=False)
    plan = layout.plan(16000)
    assert layout.lengths(plan) == [48, 48]
    assert layout.units(noise(16000), plan)[-1, 1, : 48 * 320].all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": 0}, "block is 0"),
        ({"encoder_window": 100}, "encoder_window 100 is less than encoder_stride 320"),
    ],
)
def test_impossible_numbers_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AudioWave(**options)  # type: ignore[arg-type] # wrong on purpose
