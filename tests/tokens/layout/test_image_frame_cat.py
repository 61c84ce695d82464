from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from hocket._errors import ConfigError
from hocket.tokens.layout._pixels import normalise
from hocket.tokens.layout.image_frame_cat import ImageFrameCat

GOLDEN = load_file(Path(__file__).parents[2] / "golden" / "pure_vita" / "frame_cat.safetensors")


@pytest.mark.parametrize("number", ["0", "1"])
def test_pixels_are_vitas(number: str) -> None:
    pixels, wanted = GOLDEN[f"{number}.in"], GOLDEN[f"{number}.out"]
    layout = ImageFrameCat(size=28, max_tiles=6, rows_per_unit=4)
    plan = layout.plan(*pixels.shape[:2])
    assert (plan.units, plan.rows) == (len(wanted), 4 * len(wanted) // 5)
    made = layout.units(pixels[None], plan)
    normal = [normalise(tile, mean=layout.mean, std=layout.std) for tile in wanted]
    np.testing.assert_array_equal(made, np.stack(normal))


def test_a_frame_is_five_times_itself() -> None:
    layout = ImageFrameCat(size=28, rows_per_unit=4)
    frames = np.random.default_rng(0).integers(0, 255, (3, 28, 28, 3), np.uint8)
    plan = layout.plan(28, 28, frames=3)
    assert (plan.units, plan.rows, plan.pieces, plan.frames) == (15, 12, (4, 4, 4), 3)
    made = layout.units(frames, plan).reshape(3, 5, 3, 28, 28)
    assert (made == made[:, :1]).all()
    assert (made[0, 0] != made[1, 0]).any()


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match="min_tiles is 5, max_tiles 4"):
        ImageFrameCat(min_tiles=5, max_tiles=4)
    with pytest.raises(ConfigError, match="frame_pool 2"):
        ImageFrameCat(frame_pool=2)
