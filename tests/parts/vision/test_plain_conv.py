"""Plain convolutions: how wide they are, and what does not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hocket._errors import ConfigError
from hocket.parts.vision.plain_conv import PlainConv, PlainConvConfig

OPTIONS: dict[str, Any] = {"layer": -1, "drop": -1, "scale": 1.0}


def test_the_first_layers_grow_to_the_width() -> None:
    tower = PlainConv.build(PlainConvConfig(image_size=32, patch_size=8, hidden_size=24))
    shapes = [tuple(one.shape[:2]) for name, one in tower.named_parameters() if one.ndim > 1]
    assert shapes == [(8, 3), (16, 8), (24, 16), (24, 24)]


def test_a_thing_looks_the_same_wherever_it_stands() -> None:
    torch.manual_seed(0)
    config = PlainConvConfig(image_size=64, patch_size=8, hidden_size=12)
    pictures = torch.zeros(2, 3, 64, 64)
    pictures[0, :, 20:30, 17:27] = 1
    pictures[1, :, 28:38, 33:43] = 1  # a position lower and two to the right
    x = PlainConv.encode(PlainConv.build(config), pictures, OPTIONS, None).view(2, 8, 8, 12)
    torch.testing.assert_close(x[0, 2:5, 1:5], x[1, 3:6, 3:7], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("size", "patch"), [(96, 12), (96, 1), (36, 8)])
def test_what_does_not_fit_is_refused(size: int, patch: int) -> None:
    with pytest.raises(ConfigError, match="expected 2, 4, 8 or another"):
        PlainConv.inputs(PlainConvConfig(image_size=size, patch_size=patch), OPTIONS)
