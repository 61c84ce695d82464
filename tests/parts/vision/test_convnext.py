"""ConvNeXt's stages: grids, widths, and what does not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import ConvNextConfig

from hocket._errors import ConfigError
from hocket.parts.vision.convnext import ConvNext

OPTIONS: dict[str, Any] = {"layer": -1, "drop": -1, "scale": 1.0}


def config(side: int = 24) -> ConvNextConfig:
    return ConvNextConfig(
        image_size=side, patch_size=2, num_stages=3, hidden_sizes=[4, 6, 8], depths=[1, 1, 1]
    )


@pytest.mark.parametrize(
    ("layer", "side", "width"),
    [(-1, 3, 8), (3, 3, 8), (2, 6, 6), (-2, 6, 6), (1, 12, 4), (0, 12, 4), (-4, 12, 4)],
)
def test_each_stage_has_its_grid(layer: int, side: int, width: int) -> None:
    options = OPTIONS | {"layer": layer}
    tower = ConvNext.build(config())
    assert ConvNext.grid(config(), options) == (side, side)
    assert ConvNext.width(config(), options) == width
    assert ConvNext.inputs(config(), options) == {"size": 24, "patch": 24 // side}
    x = ConvNext.encode(tower, torch.rand(2, 3, 24, 24), options, None)
    assert x.shape == (2, side * side, width)


def test_positions_are_read_row_by_row() -> None:
    tower = ConvNext.build(config())
    picture = torch.rand(1, 3, 24, 24)
    x = ConvNext.encode(tower, picture, OPTIONS, None)
    grid = tower(pixel_values=picture).last_hidden_state
    assert torch.equal(x[0, 1], grid[0, :, 0, 1])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a multiple of 8"):
        ConvNext.inputs(config(28), OPTIONS)
    with pytest.raises(ConfigError, match="there are 3 stages"):
        ConvNext.inputs(config(), OPTIONS | {"layer": 4})
