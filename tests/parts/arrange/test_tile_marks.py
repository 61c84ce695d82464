"""The order of Ovis 2's marks around, between and behind the tiles."""

from __future__ import annotations

import torch
from torch import Tensor

from hocket.parts.arrange import build_arrange
from hocket.parts.features import Features
from hocket.tokens.span import Plan


def arranged(plan: Plan | None, units: int) -> list[str]:
    """Return letters of the rows: marks b s c l e, and the number of a unit for its two rows."""
    arrange = build_arrange({"kind": "tile_marks"}, width=1)
    with torch.no_grad():
        arrange.get_parameter("marks").copy_(torch.tensor([[-1.0], [-2.0], [-3.0], [-4.0], [-5.0]]))
    rows = torch.arange(units)[:, None, None].expand(units, 2, 1).float()
    spans: Tensor | None = None
    if plan is not None:
        spans = torch.tensor([[plan.units, 0, *plan.grid, *plan.tiles]])
        assert arrange.rows(plan, per_unit=2) == len(arrange(rows, Features(rows, (1, 2), spans)))
    made = arrange(rows, Features(rows, (1, 2), spans))
    return ["  elcsb"[int(one)] if one < 0 else str(int(one)) for one in made[:, 0]]


def test_a_grid_has_marks_between_columns_and_lines() -> None:
    plan = Plan(units=7, patches=(1, 2), rows=0, grid=(1, 2, 6), tiles=(2, 3))
    assert "".join(arranged(plan, 7)) == "b00s" + "11c22c33l" + "44c55c66" + "e"


def test_one_column_has_lines_alone() -> None:
    plan = Plan(units=4, patches=(1, 2), rows=0, grid=(1, 3, 2), tiles=(3, 1))
    assert "".join(arranged(plan, 4)) == "b00s11l22l33e"


def test_a_whole_picture_and_every_frame_stand_alone() -> None:
    one = Plan(units=1, patches=(1, 2), rows=0, grid=(1, 1, 2))
    assert "".join(arranged(one, 1)) == "b00se"
    film = Plan(units=3, patches=(1, 2), rows=0, grid=(3, 1, 2))
    assert "".join(arranged(film, 3)) == "b00seb11seb22se"
    assert "".join(arranged(None, 2)) == "b00seb11se"
