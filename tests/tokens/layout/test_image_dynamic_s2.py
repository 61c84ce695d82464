from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hocket._errors import ConfigError
from hocket.tokens.layout._pixels import Filter, cut, normalise, resize
from hocket.tokens.layout.image_dynamic_s2 import ImageDynamicS2

HALF = (0.5, 0.5, 0.5)


def test_units_are_the_tiles_of_every_scale_small_to_large() -> None:
    layout = ImageDynamicS2(size=28, scales=(28, 56), max_tiles=6)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 130, 3), dtype=np.uint8)
    plan = layout.plan(50, 130)
    assert plan.tiles == (2, 3) or plan.tiles == (1, 5)
    down, across = plan.tiles
    assert plan.units == 1 + down * across
    made = layout.units(pixels[None], plan)
    large = cut(resize(pixels, down * 28, across * 28, Filter.BICUBIC), 28)
    for unit, tile in zip(made[1:], large, strict=True):
        assert np.array_equal(unit, normalise(tile, mean=HALF, std=HALF))
    whole = resize(pixels, 28, 28, Filter.BICUBIC)
    assert np.array_equal(made[0], normalise(whole, mean=HALF, std=HALF))


@pytest.mark.parametrize(
    ("output", "blocks"), [(-1, (3, 4)), (0, (1, 1)), (1, (2, 2)), (2, (3, 4))]
)
def test_rows_are_those_of_the_output_scale(output: int, blocks: tuple[int, int]) -> None:
    layout = ImageDynamicS2(size=28, output=output, rows_per_unit=9, extra_rows=1)
    plan = layout.plan(75, 100)
    assert (plan.units, plan.tiles) == (1 + 4 + 12, (3, 4))
    assert plan.grid == (1, 3 * blocks[0], 3 * blocks[1])
    assert plan.rows == 9 * blocks[0] * blocks[1] + 1
    assert plan.pieces is None


def test_frames_and_pictures_among_several_are_one_tile() -> None:
    layout = ImageDynamicS2(size=28)
    assert layout.plan(75, 100, media=2).units == 1
    assert ImageDynamicS2(size=28, tile_several=True).plan(75, 100, media=2).units == 17
    assert layout.plan(75, 100, frames=4).rows == 16
    assert layout.units(np.zeros((4, 75, 100, 3), np.uint8), layout.plan(75, 100, frames=4)).shape


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scales": (448,)}, "scales is"),
        ({"scales": (0, 1)}, "scales is"),
        ({"scales": (2, 1)}, "scales is"),
        ({"output": 3}, "output is 3"),
        ({"max_tiles": 0}, "max_tiles is 0"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ImageDynamicS2(**options)
