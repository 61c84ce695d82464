from __future__ import annotations

import numpy as np
import pytest

from hocket._errors import ConfigError
from hocket.tokens.layout.image_anyres import Merge
from hocket.tokens.layout.image_onevision import ImageOnevision, shrunk


def test_large_maps_are_made_smaller_and_others_are_not() -> None:
    # transformers: int(lines // ratio) with ratio = sqrt(lines * columns / (9 * 27 * 27)).
    assert shrunk(162, 162, rows=729, most=9) == (81, 81)
    assert shrunk(108, 162, rows=729, most=9) == (66, 99)
    # A ratio of 1.054 is within the margin.
    assert shrunk(81, 90, rows=729, most=9) == (81, 90)


def test_rows_of_a_picture_follow_the_smaller_map() -> None:
    layout = ImageOnevision(size=28, grids=("2x2",), max_maps=1)
    plan = layout.plan(56, 56)
    assert (plan.units, plan.grid, plan.rows) == (5, (1, 4, 4), 4 + 2 * (2 + 1))
    assert ImageOnevision(size=28, grids=("2x2",)).plan(56, 56).rows == 4 + 4 * (4 + 1)


def test_pictures_that_share_a_sample_are_one_tile() -> None:
    layout = ImageOnevision(size=28, grids=("2x2",))
    plan = layout.plan(56, 56, media=2)
    assert (plan.units, plan.rows) == (1, 5)
    pixels = np.zeros((1, 56, 56, 3), np.uint8)
    assert layout.units(pixels, plan).shape == (1, 3, 28, 28)


def test_frames_have_half_the_rows_along_a_side_and_one_newline() -> None:
    plan = ImageOnevision(size=70).plan(56, 56, frames=3)
    assert (plan.units, plan.grid, plan.rows) == (3, (3, 3, 3), 3 * 9 + 1)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"max_maps": 0}, "max_maps is 0"),
        ({"merge": Merge.FLAT}, "'unpad'"),
        ({"grids": ("2by2",)}, "columns x rows"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        ImageOnevision(**options)  # type: ignore[arg-type] # wrong on purpose


def test_rows_that_are_no_square_are_refused() -> None:
    layout = ImageOnevision(size=28, rows_per_unit=3)
    with pytest.raises(ConfigError, match="must be a square"):
        layout.plan(56, 56, frames=2)
