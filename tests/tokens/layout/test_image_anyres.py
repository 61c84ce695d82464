from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image as Pil
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)

from hocket._errors import ConfigError
from hocket.tokens.layout.image_anyres import ImageAnyres, Merge

GRIDS = ("1x2", "2x1", "2x2", "3x1", "1x3")
SIZES = [(30, 40), (1, 50), (50, 1), (61, 125), (130, 60), (100, 110), (56, 56), (300, 31)]


def picture(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(height * 1000 + width)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_units_are_those_of_transformers(height: int, width: int) -> None:
    layout = ImageAnyres(size=56)
    pinpoints = [[int(grid[2]) * 56, int(grid[0]) * 56] for grid in GRIDS]
    twin = LlavaNextImageProcessorPil(
        size={"shortest_edge": 56},
        crop_size={"height": 56, "width": 56},
        image_grid_pinpoints=pinpoints,
    )
    pixels = picture(height, width)
    wanted = np.asarray(twin(Pil.fromarray(pixels), return_tensors="np")["pixel_values"])[0]
    made = layout.units(pixels[None], layout.plan(height, width))
    np.testing.assert_allclose(made, wanted, rtol=0, atol=1e-6)


def test_snapping_counts_lines_as_transformers_does() -> None:
    exact = ImageAnyres(merge=Merge.UNPAD, grids=("2x2",))
    snapped = ImageAnyres(merge=Merge.UNPAD, grids=("2x2",), snap=True)
    # 47 x (48 / 752) is 3 on paper and 2.9999999999999996 in floating point.
    assert exact.plan(47, 752).grid == (1, 2, 48)
    assert snapped.plan(47, 752).grid == (1, 4, 48)
    assert exact.plan(480, 640) == snapped.plan(480, 640)


def test_rows_follow_the_merge_and_the_connector() -> None:
    for merge, rows, grid in (
        (Merge.FLAT, 16 * 5, (1, 8, 8)),
        (Merge.SPATIAL, 16 * 5, (1, 8, 8)),
        (Merge.UNPAD, 16 + 6 * 9, (1, 6, 8)),
    ):
        plan = ImageAnyres(size=56, merge=merge).plan(75, 100)
        assert (plan.rows, plan.grid, plan.tiles, plan.units) == (rows, grid, (2, 2), 5)
        folded = ImageAnyres(size=56, merge=merge, rows_per_unit=4, extra_rows=2).plan(75, 100)
        assert folded.rows == {16 * 5: 4 * 5, 70: 4 + 4 * 5}[rows] + 2


def test_a_frame_is_one_unit_with_a_newline_where_lines_have_one() -> None:
    assert ImageAnyres(size=56).plan(75, 100, frames=3).rows == 48
    plan = ImageAnyres(size=56, merge=Merge.UNPAD).plan(75, 100, frames=3)
    assert (plan.units, plan.rows, plan.grid) == (3, 51, (3, 4, 4))
    pooled = ImageAnyres(size=56, frame_pool=2).plan(75, 100, frames=3)
    assert (pooled.units, pooled.rows, pooled.grid) == (3, 32, (2, 4, 4))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"grids": ("2x0",)}, "grids is"),
        ({"grids": ("2 x 1",)}, "grids is"),
        ({"grids": ()}, "grids is"),
        ({"patch": 400}, "patch is 400"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ImageAnyres(**options)


def test_tiles_whose_rows_are_no_square_cannot_be_merged() -> None:
    with pytest.raises(ConfigError, match="10 rows of a tile, which are no square"):
        ImageAnyres(merge=Merge.UNPAD, rows_per_unit=10).plan(75, 100)
    assert ImageAnyres(merge=Merge.FLAT, rows_per_unit=10).plan(75, 100).rows == 30
