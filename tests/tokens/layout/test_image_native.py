from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image as Pil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from hocket._errors import ConfigError
from hocket.tokens.layout._pixels import Filter
from hocket.tokens.layout.image_native import ImageNative, smart_size

SMALL: dict[str, Any] = {
    f"{name}{end}": value
    for name in ("", "several_", "video_")
    for end, value in (("min_pixels", 56 * 56), ("max_pixels", 28 * 28 * 20))
}


@pytest.mark.parametrize(
    ("height", "width"), [(60, 90), (300, 41), (29, 400), (28, 28), (200, 200)]
)
def test_cells_are_those_of_qwen2_vl(height: int, width: int) -> None:
    rng = np.random.default_rng(height * 1000 + width)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    own = ImageNative(patch=14, temporal_patch=2, resample=Filter.BICUBIC, **SMALL)
    twin = Qwen2VLImageProcessorPil(
        size={"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 20},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    wanted = twin(Pil.fromarray(pixels), return_tensors="np")
    plan = own.plan(height, width)
    made = own.units(pixels[None], plan)
    assert made.shape == (plan.units, 4, 3 * 2 * 14 * 14)
    assert [plan.grid[0], 2 * plan.grid[1], 2 * plan.grid[2]] == wanted["image_grid_thw"][
        0
    ].tolist()
    np.testing.assert_allclose(
        made.reshape(-1, made.shape[-1]), wanted["pixel_values"], rtol=0, atol=1e-6
    )


def test_the_last_frame_is_repeated_and_the_first_gives_the_size() -> None:
    layout = ImageNative(patch=14, temporal_patch=2, **SMALL)
    frames = np.random.default_rng(0).integers(0, 256, (3, 60, 90, 3), dtype=np.uint8)
    plan = layout.plan(60, 90, frames=3)
    assert plan.grid == (2, 2, 3)
    made = layout.units(frames, plan)
    four = layout.units(np.concatenate([frames, frames[-1:]]), layout.plan(60, 90, frames=4))
    assert np.array_equal(made, four)


def test_rows_are_folded_from_the_connector() -> None:
    plan = ImageNative(patch=14, rows_per_unit=1, extra_rows=2, **SMALL).plan(60, 90)
    assert (plan.patches, plan.units, plan.rows) == ((2, 2), 6, 8)


def test_sizes_stay_in_their_budget_and_keep_whole_cells() -> None:
    rng = np.random.default_rng(0)
    for height, width in rng.integers(1, 3000, (200, 2)):
        high, wide = smart_size(int(height), int(width), cell=32, least=200704, most=2408448)
        assert high % 32 == wide % 32 == 0
        assert high * wide >= 200704 or min(high, wide) == 32
        assert high * wide <= 2408448 or min(height, width) < 32


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stride": 0}, "stride 0"),
        ({"temporal_patch": 0}, "temporal_patch 0"),
        ({"frame_pool": 4}, "frame_pool 4"),
        ({"min_pixels": 0}, "min_pixels is 0"),
        ({"max_pixels": 1}, "max_pixels is 1"),
        ({"max_pixels": -1}, "max_pixels is -1"),
        ({"video_max_pixels": 1}, "video_max_pixels is 1"),
        ({"several_max_pixels": -2}, "several_max_pixels is -2"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ImageNative(**options)
