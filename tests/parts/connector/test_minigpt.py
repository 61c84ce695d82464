from __future__ import annotations

import pytest
import torch
from torch import nn

from hocket._errors import ConfigError
from hocket.parts.connector.minigpt import Minigpt
from hocket.parts.features import Features
from hocket.tokens.span import Plan


def test_positions_stand_position_by_position() -> None:
    connector = Minigpt(Minigpt.Config(group=2), in_width=2, out_width=4)
    connector.linear = nn.Identity()  # type: ignore[assignment] # to see what comes in
    x = torch.arange(16.0).reshape(2, 4, 2)
    rows = connector(Features(x, (2, 2)))
    first = torch.tensor([0, 1, 2, 3])
    assert torch.equal(rows, torch.stack([first + 4 * row for row in range(4)]).float())


def test_four_positions_are_a_row_and_others_are_refused() -> None:
    connector = Minigpt(Minigpt.Config(), in_width=2, out_width=4)
    assert connector.linear.in_features == 8
    assert connector.rows(Plan(units=2, patches=(2, 4), rows=0, grid=(2, 2, 4))) == 4
    with pytest.raises(ConfigError, match="9 positions cannot be grouped by 4"):
        connector.rows(Plan(units=1, patches=(3, 3), rows=0, grid=(1, 3, 3)))
    with pytest.raises(ConfigError, match="group is 0"):
        Minigpt(Minigpt.Config(group=0), in_width=2, out_width=4)
