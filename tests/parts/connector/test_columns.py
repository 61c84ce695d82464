"""A row is a column: everything in it, nothing beside it, and where across it stands."""

from __future__ import annotations

import pytest
import torch

from hocket._errors import ConfigError
from hocket.parts.connector.columns import Columns
from hocket.parts.features import Features
from hocket.tokens.span import Plan


def test_a_row_knows_its_own_column_only() -> None:
    torch.manual_seed(0)
    connector = Columns(Columns.Config(height=3), in_width=4, out_width=8)
    x = torch.randn(2, 3, 5, 4)
    rows = connector(Features(x.flatten(1, 2), (3, 5))).view(2, 5, 8)
    for height in range(3):
        other = x.clone()
        other[1, height, 2] += 1
        changed = (connector(Features(other.flatten(1, 2), (3, 5))).view(2, 5, 8) - rows).abs()
        assert changed[1, 2].max() > 1e-4
        changed[1, 2] = 0
        assert changed.max() < 1e-6


def test_equal_columns_differ_by_where_they_stand() -> None:
    torch.manual_seed(0)
    connector = Columns(Columns.Config(height=2), in_width=4, out_width=16)
    rows = connector(Features(torch.ones(1, 2 * 12, 4), (2, 12)))
    apart = torch.cdist(rows, rows) + torch.eye(12)
    assert apart.min() > 1e-2


def test_a_grid_of_another_height_is_refused() -> None:
    connector = Columns(Columns.Config(height=3), in_width=4, out_width=8)
    with pytest.raises(ConfigError, match="the grid is 4 x 5, but height is 3"):
        connector.rows(Plan(units=1, patches=(4, 5), rows=0, grid=(1, 4, 5)))
    with pytest.raises(ConfigError, match="height is 0"):
        Columns(Columns.Config(height=0), in_width=4, out_width=8)
