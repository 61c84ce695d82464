from __future__ import annotations

import pytest
import torch
from torch import nn

from hocket._errors import ConfigError
from hocket.parts.connector.pixel_shuffle import PixelShuffle
from hocket.parts.features import Features
from hocket.tokens.span import Plan


def test_a_row_holds_one_square_of_patches_row_by_row() -> None:
    connector = PixelShuffle(PixelShuffle.Config(fold=2), in_width=3, out_width=8)
    seen: list[torch.Tensor] = []
    connector.norm = nn.Identity()  # type: ignore[assignment] # to see what comes in
    connector.linear_1.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = torch.randn(2, 4 * 6, 3)
    connector(Features(x, (4, 6)))
    picture = x.view(2, 4, 6, 3)
    expected = [
        torch.cat([picture[unit, 2 * row + a, 2 * column + b] for a in range(2) for b in range(2)])
        for unit in range(2)
        for row in range(2)
        for column in range(3)
    ]
    assert torch.equal(seen[0], torch.stack(expected))


def test_a_grid_that_does_not_fold_is_refused() -> None:
    connector = PixelShuffle(PixelShuffle.Config(fold=2), in_width=3, out_width=8)
    with pytest.raises(ConfigError, match="a grid of 4 x 5 patches cannot be folded by 2"):
        connector.rows(Plan(units=1, patches=(4, 5), rows=0, grid=(1, 4, 5)))
    with pytest.raises(ConfigError, match="fold is 0"):
        PixelShuffle(PixelShuffle.Config(fold=0), in_width=3, out_width=8)
