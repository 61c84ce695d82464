"""What every arrangement must do; a new file is tested without being named here."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from hocket._errors import ConfigError
from hocket.parts.arrange import Arrange, arrangements, build_arrange
from hocket.parts.features import Features
from hocket.tokens.span import Plan

IN_WIDTH, OUT_WIDTH, SIDE = 6, 10, 4
PATCHES = (SIDE, SIDE)
KINDS = arrangements.names()
# A picture in tiles with and without padding, several scales, frames, and lone units.
PLANS = [
    Plan(units=7, patches=PATCHES, rows=0, grid=(1, 8, 12), tiles=(2, 3)),
    Plan(units=4, patches=PATCHES, rows=0, grid=(1, 2, 12), tiles=(1, 3)),
    Plan(units=2, patches=PATCHES, rows=0, grid=(1, 4, 4), tiles=(1, 1)),
    Plan(units=3, patches=PATCHES, rows=0, grid=(1, 0, 8), tiles=(1, 2)),
    Plan(units=17, patches=PATCHES, rows=0, grid=(1, 12, 16), tiles=(3, 4)),
    Plan(units=6, patches=PATCHES, rows=0, grid=(1, 4, 4), tiles=(1, 1)),
    Plan(units=1, patches=PATCHES, rows=0, grid=(1, 4, 4)),
    Plan(units=5, patches=PATCHES, rows=0, grid=(5, 4, 4)),
    Plan(units=2, patches=PATCHES, rows=0, grid=(2, 4, 4)),
]


def made(kind: str, **options: Any) -> Arrange:
    torch.manual_seed(0)
    return build_arrange({"kind": kind, **options}, width=OUT_WIDTH)


def features(plans: list[Plan], dtype: torch.dtype = torch.float32) -> Features:
    torch.manual_seed(1)
    units = sum(plan.units for plan in plans)
    x = torch.randn(units, SIDE * SIDE, IN_WIDTH, dtype=dtype, requires_grad=True)
    spans = [[plan.units, plan.rows, *plan.grid, *plan.tiles] for plan in plans]
    return Features(x, PATCHES, spans=torch.tensor(spans, dtype=torch.int64).reshape(-1, 7))


def connected(arrange: Arrange, given: Features) -> Tensor:
    """Run the arrangement around a connector of one linear layer."""
    torch.manual_seed(2)
    gathered = arrange.gather(given)
    weight = torch.randn(arrange.in_width(IN_WIDTH), OUT_WIDTH).to(given.x.dtype)
    return arrange(gathered.x @ weight, gathered)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan.units}-{plan.grid}")
@pytest.mark.parametrize("kind", KINDS)
def test_forward_makes_the_promised_rows(kind: str, plan: Plan) -> None:
    arrange = made(kind)
    rows = connected(arrange, features([plan]))
    assert rows.shape == (arrange.rows(plan, per_unit=SIDE * SIDE), OUT_WIDTH)
    assert rows.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_spans_of_a_batch_do_not_see_each_other(kind: str) -> None:
    arrange = made(kind)
    together = features(PLANS)
    rows = connected(arrange, together)
    start = at = 0
    for number, plan in enumerate(PLANS):
        assert together.spans is not None
        alone = together._replace(
            x=together.x[start : start + plan.units], spans=together.spans[number : number + 1]
        )
        start += plan.units
        one = connected(arrange, alone)
        torch.testing.assert_close(rows[at : at + len(one)], one, rtol=0, atol=1e-5)
        at += len(one)
    assert at == len(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter_and_every_unit(kind: str) -> None:
    arrange = made(kind)
    given = features(PLANS[4:])
    rows = connected(arrange, given)
    (rows * torch.randn_like(rows)).sum().backward()
    for name, parameter in arrange.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
    assert given.x.grad is not None
    assert (given.x.grad != 0).any(dim=-1).any(dim=-1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_stays_half_precision(kind: str) -> None:
    arrange = made(kind)
    for part in (arrange, arrange.to(torch.bfloat16)):
        rows = connected(part, features(PLANS, torch.bfloat16))
        assert rows.dtype == torch.bfloat16


@pytest.mark.parametrize("kind", KINDS)
def test_no_units_are_no_rows(kind: str) -> None:
    assert connected(made(kind), features([])).shape == (0, OUT_WIDTH)


@pytest.mark.parametrize("kind", KINDS)
def test_without_spans_every_unit_is_its_own(kind: str) -> None:
    arrange = made(kind)
    lone = features([PLANS[6]] * 3)
    wanted = connected(arrange, lone)
    torch.testing.assert_close(connected(arrange, lone._replace(spans=None)), wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_options_are_documented_and_checked(kind: str) -> None:
    cls = arrangements.get(kind)
    assert inspect.getmodule(cls).__doc__
    assert cls.__doc__
    config = inspect.getdoc(cls.Config) or ""
    for field in dataclasses.fields(cls.Config):
        assert f"{field.name}: " in config, f"{kind}.Config does not describe {field.name}"
        with pytest.raises(ConfigError, match=rf"{kind}', option '{field.name}.*found"):
            made(kind, **{field.name: {"no": "number"}})
    with pytest.raises(ConfigError, match=rf"arrangement '{kind}' has no option 'colour'"):
        made(kind, colour=1)
