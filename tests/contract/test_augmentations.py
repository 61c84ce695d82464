"""What every augmentation must do; a new file is tested without being named here."""

from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import pytest

from hocket._errors import ConfigError
from hocket.data.augment import Augmenter, augmentations
from hocket.tokens.span import Modality

CASES = [
    (name, modality)
    for name in augmentations.names()
    for modality in sorted(augmentations.get(name).modalities)
]


def of(modality: Modality) -> list[str]:
    """Return the names of the augmentations of a modality."""
    return [name for name, one in CASES if one is modality]


def medium(modality: Modality) -> np.ndarray:
    rng = np.random.default_rng(0)
    if modality is Modality.AUDIO:
        return 0.1 * rng.standard_normal(5000, dtype=np.float32)
    shape = (20, 31, 3) if modality is Modality.IMAGE else (4, 20, 31, 3)
    return rng.integers(0, 256, shape, dtype=np.uint8)


def changed(name: str, modality: Modality, *, seed: int, limit: int | None = None) -> np.ndarray:
    bound = Augmenter({name: {}}, seed=seed).bind(epoch=0, sample="toy/0")
    return bound(modality, medium(modality), index=0, limit=limit)


@pytest.mark.parametrize(("name", "modality"), CASES)
def test_it_is_a_pure_function_of_its_seed(name: str, modality: Modality) -> None:
    results = [changed(name, modality, seed=seed) for seed in range(8)]
    for seed, result in enumerate(results):
        assert np.array_equal(changed(name, modality, seed=seed), result)
    different = {result.tobytes() for result in results}
    assert len(different) > 2


@pytest.mark.parametrize(("name", "modality"), CASES)
def test_it_keeps_type_and_frames_and_its_input(name: str, modality: Modality) -> None:
    cls = augmentations.get(name)
    for seed in range(8):
        given = medium(modality)
        given.setflags(write=False)
        result = cls()(given, np.random.default_rng(seed), limit=None)
        assert result.dtype == given.dtype
        assert result.ndim == given.ndim
        assert np.isfinite(result).all()
        if modality is not Modality.AUDIO:
            assert result.shape == given.shape


@pytest.mark.parametrize("name", of(Modality.AUDIO))
def test_a_sound_does_not_outgrow_its_limit(name: str) -> None:
    length = len(medium(Modality.AUDIO))
    for seed in range(20):
        for limit in (length, length + 100):
            assert 0 < len(changed(name, Modality.AUDIO, seed=seed, limit=limit)) <= limit


@pytest.mark.parametrize("name", of(Modality.VIDEO))
def test_all_frames_of_a_video_change_alike(name: str) -> None:
    still = np.repeat(medium(Modality.IMAGE)[None], 3, axis=0)
    for seed in range(4):
        result = augmentations.get(name)()(still, np.random.default_rng(seed), limit=None)
        assert (result == result[:1]).all()


@pytest.mark.parametrize("name", augmentations.names())
def test_options_are_documented_and_checked(name: str) -> None:
    cls = augmentations.get(name)
    assert cls.modalities
    assert inspect.getmodule(cls).__doc__
    for field in dataclasses.fields(cls):  # type: ignore[arg-type] # augmentations are dataclasses
        assert f"{field.name}: " in (inspect.getdoc(cls) or "")
        with pytest.raises(ConfigError, match=rf"data.augment.{name}.{field.name}"):
            Augmenter({name: {field.name: "much"}}, seed=0)
    with pytest.raises(ConfigError, match=rf"data.augment.{name} has no option 'colour'"):
        Augmenter({name: {"colour": 1}}, seed=0)
