from __future__ import annotations

import pytest
import torch
from torch import nn

from hocket._errors import ConfigError
from hocket.parts.connector.spp import Spp, Variant
from hocket.parts.features import Features
from hocket.tokens.span import Plan


def pooled(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Average squares of four, an odd end left out."""
    grid = x.reshape(len(x), height, width, -1)[:, : height // 2 * 2, : width // 2 * 2]
    corners = [grid[:, a::2, b::2] for a in range(2) for b in range(2)]
    return torch.stack(corners).mean(dim=0).flatten(1, 2)


@pytest.mark.parametrize("variant", Variant)
@pytest.mark.parametrize("grid", [(4, 4), (5, 3)])
def test_the_pool_stands_where_vita_puts_it(variant: Variant, grid: tuple[int, int]) -> None:
    connector = Spp(Spp.Config(variant=variant), in_width=3, out_width=5)
    x = torch.randn(2, grid[0] * grid[1], 3)
    if variant is Variant.V1:
        expected = connector.linear_2(pooled(connector.linear_1(x), *grid))
    elif variant is Variant.V2:
        expected = pooled(connector.linear_2(connector.linear_1(x)), *grid)
    else:
        expected = connector.linear_2(connector.linear_1(pooled(connector.linear_0(x), *grid)))
    rows = connector(Features(x, grid))
    torch.testing.assert_close(rows, expected.flatten(0, 1))
    assert len(rows) == connector.rows(Plan(units=2, patches=grid, rows=0, grid=(2, *grid)))
    assert isinstance(connector.linear_0, nn.Linear) == (variant is Variant.V3)


def test_a_sound_is_refused() -> None:
    connector = Spp(Spp.Config(), in_width=3, out_width=5)
    with pytest.raises(ConfigError, match="a grid of 1 x 8 patches holds no square"):
        connector.rows(Plan(units=1, patches=(1, 8), rows=0, grid=(1, 1, 8), valid=(8,)))
