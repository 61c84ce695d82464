"""Ovis 2's grid: as few tiles as cover the picture, each cell fitted into its tile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hocket._errors import ConfigError
from hocket.tokens.layout import layout_from
from hocket.tokens.layout.image_covering import ImageCovering, count_marks, covering_grid

SIZE = 28
PLAIN: dict[str, Any] = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}


def small(**options: Any) -> ImageCovering:
    made = layout_from({"kind": "image_covering", "size": SIZE, "patch": 14, **options})
    assert isinstance(made, ImageCovering)
    return made


@pytest.mark.parametrize(
    ("height", "width", "grid"),
    [
        (20, 28, (1, 1)),
        (28, 56, (1, 2)),
        (84, 28, (3, 1)),
        (56, 56, (2, 2)),
        (28, 40, (1, 2)),
        (56, 84, (2, 3)),
        (1000, 1000, (3, 3)),
        (1, 4000, (1, 9)),
    ],
)
def test_fewest_tiles_that_cover_enough(height: int, width: int, grid: tuple[int, int]) -> None:
    assert covering_grid(height, width, size=SIZE, most=9, enough=0.9) == grid
    plan = small().plan(height, width)
    assert plan.tiles == grid
    tiles = grid[0] * grid[1]
    assert plan.units == (1 if tiles == 1 else 1 + tiles)
    assert plan.rows == plan.units * 4 + count_marks(tiles)


def test_lines_become_columns_where_told() -> None:
    assert small(swap=True).plan(28, 56).tiles == (2, 1)
    assert small(choice="nearest", swap=True).plan(28, 56).tiles == (1, 2)
    assert small(choice="nearest", min_tiles=3, max_tiles=4).plan(56, 56).tiles == (2, 2)


def test_cells_keep_their_shape_on_the_mean_colour() -> None:
    pixels = np.full((14, 56, 3), 255, np.uint8)
    pixels[:, 28:] = 51
    layout = small(**PLAIN)
    plan = layout.plan(14, 56)
    assert plan.tiles == (1, 2)
    whole, left, right = layout.units(pixels[None], plan)
    assert left[0].max() == 1
    assert np.all(left[:, 7:21] == 1)
    assert np.all(left[:, :7] == 0)
    assert np.all(left[:, 21:] == 0)
    assert np.allclose(right[:, 7:21], 0.2)
    assert np.all(whole[:, 9] == 0)
    assert whole[0, 13, 0] == 1


def test_the_last_cells_take_the_rest() -> None:
    pixels = np.zeros((28, 85, 3), np.uint8)
    pixels[:, 56:] = 255
    layout = small(**PLAIN)
    plan = layout.plan(28, 85)
    assert plan.tiles == (1, 3)
    *_, middle, last = layout.units(pixels[None], plan)
    assert np.all(middle == 0)
    # 29 pixels wide: made smaller, with a line above or below.
    assert np.all(last[:, :27].max(axis=(0, 2)) == 1)
    assert np.all(last[:, 27] == 0)


def test_squash_resizes_the_whole_first() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 57, 3), dtype=np.uint8)
    layout = small(fit="squash")
    plan = layout.plan(28, 57)
    same = layout.units(pixels[None], plan)
    assert same.shape == (3, 3, SIZE, SIZE)
    assert not np.array_equal(same, small().units(pixels[None], plan))


def test_each_frame_has_its_marks() -> None:
    plan = small(rows_per_unit=4).plan(200, 300, frames=3)
    assert (plan.units, plan.rows, plan.tiles) == (3, 3 * (4 + 3), (1, 1))
    assert plan.pieces == (7, 7, 7)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"max_tiles": 0}, "max_tiles is 0"),
        ({"fit": "crop"}, "fit is 'crop'"),
        ({"cover": 1.0}, "cover is 1.0"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        small(**options)


def test_frames_that_share_rows_are_refused() -> None:
    with pytest.raises(ConfigError, match="joins 2 frames"):
        small(frame_pool=2).plan(28, 28)
