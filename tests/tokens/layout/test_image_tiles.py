from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hocket._errors import ConfigError
from hocket.tokens.layout._tiling import tile_grid
from hocket.tokens.layout.image_tiles import ImageTiles, Overview


def test_the_overview_stands_where_it_is_put() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 56, 3), dtype=np.uint8)
    made = {}
    for overview in Overview:
        layout = ImageTiles(size=28, overview=overview, max_tiles=2)
        plan = layout.plan(28, 56)
        made[overview] = layout.units(pixels[None], plan)
        assert plan.tiles == (1, 2)
        assert plan.rows == 4 * plan.units
        assert plan.grid == (1, 2, 4)
        assert plan.pieces == (4,) * plan.units
    assert len(made[Overview.NONE]) == 2
    assert np.array_equal(made[Overview.LAST][:2], made[Overview.NONE])
    assert np.array_equal(made[Overview.FIRST][1:], made[Overview.NONE])
    assert np.array_equal(made[Overview.FIRST][0], made[Overview.LAST][2])


def test_one_tile_needs_no_overview() -> None:
    plan = ImageTiles(size=28).plan(20, 20)
    assert (plan.units, plan.tiles, plan.pieces) == (1, (1, 1), (4,))


def test_learned_rows_belong_to_the_last_piece() -> None:
    plan = ImageTiles(size=28, rows_per_unit=1, extra_rows=2, max_tiles=2).plan(28, 56)
    assert (plan.rows, plan.pieces) == (5, (1, 1, 3))


def test_of_two_equally_near_shapes_a_large_picture_takes_the_later() -> None:
    # 1.25 lies as far from 1:2 as from 2:1, and both have two tiles.
    small = tile_grid(8, 10, size=448, least=2, most=2)
    large = tile_grid(800, 1000, size=448, least=2, most=2)
    assert {small, large} == {(1, 2), (2, 1)}


def test_without_a_grid_between_the_limits_there_is_one_tile() -> None:
    assert tile_grid(800, 1000, size=448, least=9, most=6) == (1, 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_tiles": 0}, "min_tiles is 0"),
        ({"min_tiles": 5, "max_tiles": 4}, "max_tiles is 4"),
        ({"std": (1.0, 0.0, 1.0)}, "std is"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ImageTiles(**options)


def test_a_text_may_stand_behind_tiles_alone() -> None:
    layout = ImageTiles(size=28, tile_after=("\n",), max_tiles=2, tile_several=False)
    assert layout.plan(28, 56).behind == layout.plan(20, 20).behind == ("\n",)
    assert layout.plan(28, 56, media=2).behind == layout.plan(28, 56, frames=3).behind == ()
