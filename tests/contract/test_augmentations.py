"""What every augmentation must do; a new file is tested without being named here."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from tests.toy import assistant, picture, sound, talk, toy, user, video

from hocket._errors import ConfigError
from hocket.chat.conversation import Conversation
from hocket.data.augment import (
    Augmentation,
    Augmenter,
    ConversationAugmentation,
    PixelAugmentation,
    SoundAugmentation,
    UnitAugmentation,
    augmentations,
)
from hocket.tokens.span import Modality, Plan

NAMES = augmentations.names()
CASES = [
    (name, modality)
    for name in NAMES
    for modality in sorted(augmentations.get(name).modalities)
    if not issubclass(augmentations.get(name), ConversationAugmentation)
]
CHANGES_WAVES = [name for name in NAMES if issubclass(augmentations.get(name), SoundAugmentation)]
FILMS = [name for name, modality in CASES if modality is Modality.VIDEO]
REWRITES = [name for name in NAMES if issubclass(augmentations.get(name), ConversationAugmentation)]
# Two units of 50 encoder frames, of which the last is padded from its 30th on.
PLAN = Plan(units=2, patches=(1, 50), rows=8, grid=(8, 1, 1), valid=(50, 30))
SIZES = [(20, 31), (1, 1), (1, 40), (64, 48)]
ROWS = [
    talk(user(sound(1)), assistant("Low."), name="0"),
    talk(user(picture(2), "What?"), assistant("Red."), name="1"),
    talk(user(video(3), sound(3)), assistant("Blue."), name="2"),
    talk(user("Two?"), assistant("Four."), user(sound(4)), assistant("Yes."), name="3"),
]


def medium(modality: Modality, *, size: tuple[int, int] = (20, 31)) -> np.ndarray:
    rng = np.random.default_rng(0)
    if modality is Modality.AUDIO:
        made = 0.1 * rng.standard_normal(5000, dtype=np.float32)
    else:
        frames = () if modality is Modality.IMAGE else (4,)
        made = rng.integers(0, 256, (*frames, *size, 3), dtype=np.uint8)
    made.setflags(write=False)
    return made


def units() -> np.ndarray:
    made = np.random.default_rng(0).standard_normal((2, 16, 100), dtype=np.float32)
    made.setflags(write=False)
    return made


def is_of_units(name: str) -> bool:
    return issubclass(augmentations.get(name), UnitAugmentation)


def changed(
    name: str,
    modality: Modality,
    array: np.ndarray | None = None,
    *,
    seed: int = 0,
    epoch: int = 0,
    index: int = 0,
    limit: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> np.ndarray:
    augmenter = Augmenter({name: options or {}}, seed=seed)
    bound = augmenter.bind(epoch=epoch, sample="toy/0", conversation=ROWS[0])
    if is_of_units(name):
        return bound.retouch(modality, units() if array is None else array, index=index, plan=PLAN)
    given = medium(modality) if array is None else array
    return bound(modality, given, index=index, limit=limit)


def rewritten(
    name: str,
    row: int,
    *,
    seed: int = 0,
    epoch: int = 0,
    options: Mapping[str, Any] | None = None,
) -> tuple[Conversation, list[np.ndarray]]:
    """Return the conversation and what its sounds become."""
    augmenter = Augmenter({name: options or {}}, seed=seed)
    bound = augmenter.bind(epoch=epoch, sample=f"toy/{row}", conversation=ROWS[row], others=ROWS)
    assert bound.conversation is not None
    wave = medium(Modality.AUDIO)
    waves = [
        bound(Modality.AUDIO, wave, index=index, limit=len(wave))
        for index in range(len(list(ROWS[row].media())))
    ]
    return bound.conversation, waves


@pytest.mark.parametrize(("name", "modality"), CASES)
def test_it_is_a_pure_function_of_seed_epoch_and_medium(name: str, modality: Modality) -> None:
    for key in ("seed", "epoch", "index"):
        draws = [changed(name, modality, **{key: value}) for value in range(12)]  # type: ignore[arg-type] # the keys are numbers
        for value in (0, 11):
            again = changed(name, modality, **{key: value})  # type: ignore[arg-type] # as above
            assert np.array_equal(again, draws[value])
        assert len({one.tobytes() for one in draws}) > 1, key


@pytest.mark.parametrize("name", REWRITES)
def test_a_rewrite_is_a_pure_function_of_seed_and_epoch(name: str) -> None:
    for key in ("seed", "epoch"):
        seen = set()
        for value in range(40):
            one, waves = rewritten(name, 0, **{key: value})  # type: ignore[arg-type] # the keys are numbers
            again, others = rewritten(name, 0, **{key: value})  # type: ignore[arg-type] # as above
            assert one == again
            assert all(map(np.array_equal, waves, others))
            seen.add(one.messages)
        assert len(seen) > 1, key


@pytest.mark.parametrize("name", REWRITES)
def test_a_rewrite_keeps_media_and_roles_and_can_be_learned(name: str) -> None:
    for row, given in enumerate(ROWS):
        for seed in range(20):
            one, waves = rewritten(name, row, seed=seed)
            assert list(one.media()) == list(given.media())
            assert [turn.role for turn in one.messages] == [turn.role for turn in given.messages]
            assert (one.id, one.source) == (given.id, given.source)
            assert all(wave.dtype == np.float32 and len(wave) == 5000 for wave in waves)
            assert any(label != -100 for label in toy().processor.measure(one).labels)


@pytest.mark.parametrize(("name", "modality"), CASES)
def test_it_keeps_type_and_shape_and_its_input(name: str, modality: Modality) -> None:
    sizes = SIZES if modality is not Modality.AUDIO else [(0, 0)]
    for size in sizes:
        given = units() if is_of_units(name) else medium(modality, size=size)
        before = given.copy()
        for seed in range(8):
            result = changed(name, modality, given, seed=seed)
            assert result.dtype == given.dtype
            assert np.isfinite(result).all()
            if name not in CHANGES_WAVES:
                assert result.shape == given.shape
            assert result.ndim == given.ndim
        assert np.array_equal(given, before)


@pytest.mark.parametrize("name", CHANGES_WAVES)
@pytest.mark.parametrize("length", [1, 2, 7, 300, 5000])
def test_a_sound_stays_within_its_limit_however_short_or_silent(name: str, length: int) -> None:
    for wave in (medium(Modality.AUDIO)[:length], np.zeros(length, np.float32)):
        for seed in range(12):
            for limit in (length, length + 100, None):
                result = changed(name, Modality.AUDIO, wave, seed=seed, limit=limit)
                assert result.dtype == np.float32
                assert result.ndim == 1
                assert 0 < len(result) <= (limit or 10 * length + 10)
                assert np.isfinite(result).all()


@pytest.mark.parametrize("name", FILMS)
def test_all_frames_of_a_video_change_alike(name: str) -> None:
    still = np.repeat(medium(Modality.IMAGE)[None], 3, axis=0)
    for seed in range(8):
        result = changed(name, Modality.VIDEO, still, seed=seed)
        assert (result == result[:1]).all()


@pytest.mark.parametrize(("name", "modality"), CASES)
def test_at_zero_strength_it_changes_nothing(name: str, modality: Modality) -> None:
    given = units() if is_of_units(name) else medium(modality)
    for seed in range(8):
        result = changed(name, modality, given, seed=seed, options=augmentations.get(name).off)
        assert np.array_equal(result, given)


@pytest.mark.parametrize("name", REWRITES)
def test_at_zero_strength_a_rewrite_changes_nothing(name: str) -> None:
    for row, given in enumerate(ROWS):
        for seed in range(8):
            one, waves = rewritten(name, row, seed=seed, options=augmentations.get(name).off)
            assert one == given
            assert all(np.array_equal(wave, medium(Modality.AUDIO)) for wave in waves)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_of_one_kind(name: str) -> None:
    cls = augmentations.get(name)
    kinds = (ConversationAugmentation, PixelAugmentation, SoundAugmentation, UnitAugmentation)
    assert sum(issubclass(cls, kind) for kind in kinds) == 1
    assert issubclass(cls, Augmentation)
    assert cls.modalities


@pytest.mark.parametrize("name", NAMES)
def test_options_are_documented_and_checked(name: str) -> None:
    cls = augmentations.get(name)
    assert inspect.getmodule(cls).__doc__
    for field in dataclasses.fields(cls):  # type: ignore[arg-type] # augmentations are dataclasses
        assert f"{field.name}: " in (inspect.getdoc(cls) or "")
        with pytest.raises(ConfigError, match=rf"data.augment.{name}.{field.name}"):
            Augmenter({name: {field.name: "much"}}, seed=0)
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            for wrong in (float("nan"), float("inf")):
                with pytest.raises(ConfigError, match=rf"data.augment.{name}.{field.name}"):
                    Augmenter({name: {field.name: wrong}}, seed=0)
            if not field.name.endswith("_db"):
                with pytest.raises(ConfigError, match=rf"data.augment.{name}.{field.name}: .*-1"):
                    Augmenter({name: {field.name: -1}}, seed=0)
    with pytest.raises(ConfigError, match=rf"data.augment.{name} has no option 'clour'"):
        Augmenter({name: {"clour": 1}}, seed=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_two_ends_of_a_range_are_in_order(name: str) -> None:
    fields = {field.name: field.default for field in dataclasses.fields(augmentations.get(name))}  # type: ignore[arg-type] # as above
    lows = [key for key in fields if "low" in key.split("_")]
    for low in lows:
        high = low.replace("low", "high")
        swapped = {low: fields[high], high: fields[low]}
        with pytest.raises(ConfigError, match=rf"data.augment.{name}: {low} is .* {high} is"):
            Augmenter({name: swapped}, seed=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_may_refuse_it(name: str) -> None:
    for refusal in (True, [name]):
        row = dataclasses.replace(ROWS[0], meta={"no_augment": refusal})
        for seed in range(8):
            bound = Augmenter({name: {}}, seed=seed).bind(
                epoch=0, sample="toy/0", conversation=row, others=ROWS
            )
            assert bound.conversation == row
            for modality in Modality:
                given = medium(modality)
                assert bound(modality, given, index=0, limit=None) is given
                mel = units()
                assert bound.retouch(modality, mel, index=0, plan=PLAN) is mel
