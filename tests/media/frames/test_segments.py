"""Segments give one frame each, at random by a seed or in their middles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hocket._errors import ConfigError
from hocket.media.frames import Segments


def test_middles() -> None:
    assert Segments(4).pick(43, 30.0) == [5, 15, 25, 35]
    assert Segments(4).pick(4, 0.0) == [0, 1, 2, 3]


@pytest.mark.parametrize("frames", [1, 4, 16])
def test_each_segment_gives_one_frame(frames: int) -> None:
    for count in range(frames, 300, 7):
        length = count // frames
        for seed in (None, 0, 1, 2**32 - 1):
            picked = Segments(frames, seed=seed).pick(count, 0.0)
            assert [index // length for index in picked] == list(range(frames))
            assert Segments(frames, seed=seed).pick(count, 30.0) == picked


def test_seeds_differ_and_every_place_is_drawn() -> None:
    drawn = {tuple(Segments(4, seed=seed).pick(40, 0.0)) for seed in range(50)}
    assert len(drawn) > 40
    assert {picked[1] for picked in drawn} == set(range(10, 20))


def test_the_draw_is_that_of_numpys_seeded_generator() -> None:
    """``arange(n) * length + numpy.random.randint(length, size=n)`` after the same seed."""
    state = np.random.get_state()
    try:
        np.random.seed(7)
        drawn = np.arange(16) * 12 + np.random.randint(12, size=16)
    finally:
        np.random.set_state(state)
    assert Segments(16, seed=7).pick(200, 0.0) == drawn.tolist()


def test_short_videos() -> None:
    """The original shows frame 0 in all segments, which is kept as an option."""
    assert Segments(6).pick(4, 0.0) == [0, 0, 1, 2, 2, 3]
    assert Segments(6, seed=3).pick(1, 0.0) == [0] * 6
    assert Segments(6, short="first").pick(4, 0.0) == [0] * 6


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, "to 4294967295"),
        ({"short": "repeats"}, "Did you mean 'repeat'"),
    ],
)
def test_wrong_options(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Segments(4, **options)
