from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pil
from PIL import ImageOps
from tests.toy import assistant, talk, user

from hocket._errors import ConfigError, UnknownNameError
from hocket.data.augment import Augmenter
from hocket.data.augment._pixels import adjust, draw_box, turned, warp
from hocket.data.augment.rand_augment import OPERATIONS
from hocket.tokens.span import Modality

PLAIN = talk(user("What is this?"), assistant("A dog."))
BOXED = talk(user("Where is the dog?"), assistant("At [12, 30.5, 100, 120]."))
RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
# Red grows downwards and green to the right, so a pixel says where it is from.
PLACES = np.zeros((40, 60, 3), np.uint8)
PLACES[..., 0] = 4 * np.arange(40)[:, None]
PLACES[..., 1] = 4 * np.arange(60)[None, :]


def apply(
    name: str, pixels: np.ndarray, *, seed: int = 0, talk: Any = PLAIN, **options: Any
) -> np.ndarray:
    bound = Augmenter({name: options}, seed=seed).bind(epoch=0, sample="a/0", conversation=talk)
    modality = Modality.IMAGE if pixels.ndim == 3 else Modality.VIDEO
    return bound(modality, pixels, index=0, limit=None)


def test_a_crop_shows_a_part_of_the_asked_size() -> None:
    for seed in range(20):
        part = apply("crop", PLACES, seed=seed, low_area=0.25, high_area=0.25, aspect=1.0)
        down, right = (np.ptp(part[5:-5, 5:-5, channel].astype(int)) / 4 for channel in (0, 1))
        assert down == pytest.approx(29 / 2, abs=1)
        assert right == pytest.approx(49 / 2, abs=1)


def test_a_crop_lies_anywhere_and_has_the_asked_area_and_aspect() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([draw_box(rng, 100, 200, area=(0.2, 0.5), aspect=1.5) for _ in range(2000)])
    top, left, height, width = boxes.T
    share = height * width / 20_000
    assert 0.2 <= share.min() < 0.22
    assert 0.48 < share.max() <= 0.5 + 1e-9
    stretch = height / 100 / (width / 200)
    assert 1 / 1.5 <= stretch.min() < 0.7
    assert 1.45 < stretch.max() <= 1.5 + 1e-9
    assert (top >= 0).all()
    assert (top + height <= 100 + 1e-9).all()
    assert (left + width <= 200 + 1e-9).all()
    assert (top + height / 2).mean() == pytest.approx(50, abs=1)
    assert (left + width / 2).mean() == pytest.approx(100, abs=2)


def test_a_turn_by_90_degrees_is_pillows() -> None:
    square = NOISE[:, :20]
    turned_over = warp(square, turned(90), fill=(0, 0, 0))
    assert np.abs(turned_over.astype(int) - np.rot90(square)).max() <= 1


def test_rotate_turns_within_its_angle_and_fills_the_corners() -> None:
    white = np.full((64, 64, 3), 255, np.uint8)
    corners = [
        tuple(apply("rotate", white, seed=seed, degrees=45, fill=(9, 8, 7))[0, 0])
        for seed in range(10)
    ]
    assert corners.count((9, 8, 7)) >= 8
    # The grey level of a ramp along the width turns with the picture.
    ramp = np.tile(4 * np.arange(64, dtype=np.uint8)[:, None], (64, 1, 3))
    angles = []
    for seed in range(30):
        middle = apply("rotate", ramp, seed=seed, degrees=20)[20:44, 20:44, 0].astype(float)
        down, right = (np.gradient(middle, axis=axis).mean() for axis in (0, 1))
        angles.append(math.degrees(math.atan2(down, right)))
    assert -21 <= min(angles) < -12
    assert 12 < max(angles) <= 21


def test_adjust_multiplies_what_it_says() -> None:
    grey = NOISE.astype(float) @ [0.299, 0.587, 0.114]
    darker = adjust(NOISE, brightness=0.5)
    assert np.abs(darker - NOISE / 2).max() <= 0.51
    flat = adjust(NOISE, contrast=0.0)
    assert np.abs(flat - grey.mean()).max() <= 0.51
    colourless = adjust(NOISE, saturation=0.0)
    assert np.abs(colourless - grey[..., None]).max() <= 0.51
    soft = NOISE // 4 + 96
    turned_hue = adjust(soft, hue=0.25)
    luma = [one.astype(float) @ [0.299, 0.587, 0.114] for one in (soft, turned_hue)]
    assert np.abs(luma[0] - luma[1]).max() <= 0.6
    assert np.abs(turned_hue.astype(int) - soft).max() > 20
    back = adjust(adjust(soft, hue=0.5), hue=0.5)
    assert np.abs(back.astype(int) - soft).max() <= 2


def test_colour_stays_in_its_ranges() -> None:
    grey = np.full((4, 4, 3), 100, np.uint8)
    seen = [int(apply("colour", grey, seed=seed, brightness=0.3)[0, 0, 0]) for seed in range(60)]
    assert 70 <= min(seen) < 75
    assert 125 < max(seen) <= 130


@pytest.mark.parametrize("fill", ["noise", "mean", "black"])
def test_erase_covers_boxes_of_the_asked_area(fill: str) -> None:
    white = np.full((60, 80, 3), 250, np.uint8)
    white[:30] = 200
    shares = []
    for seed in range(40):
        options = {"chance": 1.0, "low_area": 0.1, "high_area": 0.2, "fill": fill}
        erased = apply("erase", white, seed=seed, **options)
        changed = (erased != white).any(axis=-1)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        box = erased[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        shares.append(box.shape[0] * box.shape[1] / 4800)
        if fill != "noise":
            assert (box == (225 if fill == "mean" else 0)).all()
    assert min(shares) > 0.08
    assert max(shares) < 0.22
    assert max(shares) - min(shares) > 0.05


def test_erase_leaves_what_its_chance_says() -> None:
    same = sum(
        np.array_equal(apply("erase", NOISE, seed=s, chance=0.25), NOISE) for s in range(200)
    )
    assert 120 < same < 175


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_of_rand_augment_acts(name: str) -> None:
    soft = NOISE // 2 + 50
    options = {"count": 1, "operations": [name]}
    same = np.array_equal(apply("rand_augment", soft, magnitude=10, **options), soft)
    assert same == (name == "identity")
    weak = apply("rand_augment", soft, magnitude=0.01, **options)
    if name not in {"equalize", "autocontrast"}:
        assert np.abs(weak.astype(int) - soft).max() <= 3


def test_histogram_operations_are_pillows() -> None:
    pale = Pil.fromarray(NOISE // 2 + 50)
    for name, pillows in (
        ("autocontrast", ImageOps.autocontrast),
        ("posterize", lambda one: ImageOps.posterize(one, 4)),
        ("solarize", lambda one: ImageOps.solarize(one, 128)),
    ):
        magnitude = 5 if name == "solarize" else 10
        mine = apply(
            "rand_augment", np.asarray(pale), count=1, magnitude=magnitude, operations=[name]
        )
        assert np.abs(mine.astype(int) - np.asarray(pillows(pale))).max() <= 1, name
    even = apply("rand_augment", np.asarray(pale), count=1, magnitude=1, operations=["equalize"])
    assert np.bincount(even.ravel() // 32, minlength=8).min() > 0.08 * even.size


def test_rand_augment_draws_every_operation_with_both_signs() -> None:
    grey = np.full((3, 3, 3), 100, np.uint8)
    seen = {
        int(apply("rand_augment", grey, seed=seed, count=1, operations=["brightness"])[0, 0, 0])
        for seed in range(20)
    }
    assert seen == {55, 145}
    twice = {
        int(
            apply("rand_augment", grey, seed=seed, count=2, operations=["brightness", "identity"])[
                0, 0, 0
            ]
        )
        for seed in range(60)
    }
    assert twice == {30, 55, 80, 100, 145, 210}


def test_all_frames_share_a_histogram() -> None:
    film = np.stack([np.full((4, 4, 3), level, np.uint8) for level in (50, 100, 150)])
    film[0, 0, 0], film[2, 0, 0] = 50, 150
    stretched = apply("rand_augment", film, count=1, operations=["autocontrast"])
    assert [int(frame[1, 1, 1]) for frame in stretched] == [0, 128, 255]


def test_jitter_shows_neighbours_in_order() -> None:
    film = np.repeat(np.arange(20, dtype=np.uint8), 12).reshape(20, 2, 2, 3)
    moved = set()
    for seed in range(30):
        order = apply("temporal_jitter", film, seed=seed, reach=2, chance=0.5)[:, 0, 0, 0]
        steps = order.astype(int) - np.arange(20)
        assert (np.diff(order.astype(int)) >= 0).all()
        assert np.abs(steps).max() <= 2
        moved |= set(steps.tolist())
    assert moved == {-2, -1, 0, 1, 2}


def test_tubes_cover_the_asked_share_of_every_frame() -> None:
    film = np.random.default_rng(1).integers(0, 100, (3, 32, 48, 3), dtype=np.uint8)
    film[..., 2] = 200
    masked = apply("tube_mask", film, share=0.25, cells=4)
    mean = np.rint(film.mean(axis=(0, 1, 2)))
    covered = (masked == mean).all(axis=(0, 3))
    cells = covered.reshape(4, 8, 4, 12)
    assert (cells.all(axis=(1, 3)) == cells.any(axis=(1, 3))).all()
    assert cells.all(axis=(1, 3)).sum() == 4
    assert np.array_equal(masked[:, ~covered], film[:, ~covered])


@pytest.mark.parametrize("name", ["crop", "flip", "rotate", "rand_augment"])
def test_samples_with_boxes_are_left_alone(name: str) -> None:
    options = {"chance": 1.0} if name == "flip" else {}
    assert apply(name, PLACES, talk=BOXED, **options) is PLACES
    assert not np.array_equal(apply(name, PLACES, **options), PLACES)


def test_an_unknown_operation_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"operations is called 'sheer_x'\. Did you mean"):
        Augmenter({"rand_augment": {"operations": ["sheer_x"]}}, seed=0)
    with pytest.raises(ConfigError, match=r"rand_augment\.operations is empty"):
        Augmenter({"rand_augment": {"operations": []}}, seed=0)
