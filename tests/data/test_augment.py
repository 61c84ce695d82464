from __future__ import annotations

import numpy as np
import pytest

from hocket._errors import UnknownNameError
from hocket.data.augment import Augmenter
from hocket.tokens.span import Modality

WAVE = 0.1 * np.random.default_rng(0).standard_normal(4000).astype(np.float32)
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def apply(augmenter: Augmenter, *, epoch: int = 0, sample: str = "a/0", index: int = 0) -> bytes:
    bound = augmenter.bind(epoch=epoch, sample=sample)
    return bound(Modality.IMAGE, PIXELS, index=index, limit=None).tobytes()


def test_seed_epoch_sample_and_medium_each_change_the_draw() -> None:
    one = Augmenter({"contrast": {}}, seed=0)
    same = apply(one)
    assert apply(Augmenter({"contrast": {}}, seed=0)) == same
    others = [
        apply(Augmenter({"contrast": {}}, seed=1)),
        apply(one, epoch=1),
        apply(one, sample="a/1"),
        apply(one, index=1),
    ]
    assert len({same, *others}) == 5


def test_only_augmentations_of_the_modality_apply() -> None:
    bound = Augmenter({"contrast": {}, "shift": {}}, seed=0).bind(epoch=0, sample="a/0")
    assert bound(Modality.AUDIO, WAVE, index=0, limit=None) is WAVE
    bound = Augmenter({"gain": {}, "speed": {}}, seed=0).bind(epoch=0, sample="a/0")
    assert bound(Modality.IMAGE, PIXELS, index=0, limit=None) is PIXELS


def test_speed_changes_pitch_and_length_together() -> None:
    tone = np.sin(2 * np.pi * 500 * np.arange(16000) / 16000).astype(np.float32)
    bound = Augmenter({"speed": {"low": 1.25, "high": 1.25}}, seed=0).bind(epoch=0, sample="a/0")
    fast = bound(Modality.AUDIO, tone, index=0, limit=None)
    assert len(fast) == 12800
    peak = np.abs(np.fft.rfft(fast)).argmax() * 16000 / len(fast)
    assert peak == pytest.approx(625, abs=2)


def test_noise_has_the_asked_strength() -> None:
    options = {"low_db": 20.0, "high_db": 20.0, "chance": 1.0}
    bound = Augmenter({"noise": options}, seed=0).bind(epoch=0, sample="a/0")
    noise = bound(Modality.AUDIO, WAVE, index=0, limit=None) - WAVE
    ratio = 10 * np.log10(np.mean(WAVE**2) / np.mean(noise**2))
    assert ratio == pytest.approx(20, abs=0.3)


def test_gain_is_in_decibels() -> None:
    bound = Augmenter({"gain": {"decibels": 6.0}}, seed=0).bind(epoch=0, sample="a/0")
    factor = bound(Modality.AUDIO, WAVE, index=0, limit=None)[5] / WAVE[5]
    assert 10 ** (-6 / 20) <= factor <= 10 ** (6 / 20)
    assert factor != 1


def test_shift_moves_and_repeats_the_edge() -> None:
    bound = Augmenter({"shift": {"share": 0.2}}, seed=0).bind(epoch=0, sample="a/0")
    moved = bound(Modality.IMAGE, PIXELS, index=0, limit=None)
    found = [
        (down, right)
        for down in range(-4, 5)
        for right in range(-6, 7)
        if np.array_equal(
            moved[max(down, 0) : 20 + min(down, 0), max(right, 0) : 30 + min(right, 0)],
            PIXELS[max(-down, 0) : 20 + min(-down, 0), max(-right, 0) : 30 + min(-right, 0)],
        )
    ]
    assert len(found) == 1
    assert found != [(0, 0)]


def test_an_unknown_augmentation_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"no augmentation is called 'contrst'\. Did you"):
        Augmenter({"contrst": {}}, seed=0)
