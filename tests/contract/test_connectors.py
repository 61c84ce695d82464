"""What every connector must do; a new file is tested without being named here."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from hocket._errors import ConfigError
from hocket.parts.connector import Connector, build_connector, connectors
from hocket.parts.features import Features
from hocket.tokens.span import Plan

IN_WIDTH, OUT_WIDTH = 12, 20
KINDS = connectors.names()
# Pictures of one or several units, and sounds whose last unit is partly padding.
PLANS = [
    Plan(units=1, patches=(4, 4), rows=0, grid=(1, 4, 4)),
    Plan(units=3, patches=(2, 6), rows=0, grid=(3, 2, 6)),
    Plan(units=1, patches=(1, 7), rows=0, grid=(1, 1, 7), valid=(7,)),
    Plan(units=2, patches=(1, 7), rows=0, grid=(2, 1, 7), valid=(7, 1)),
    Plan(units=3, patches=(1, 25), rows=0, grid=(3, 1, 25), valid=(25, 25, 13)),
]


def made(kind: str, **options: Any) -> Connector:
    torch.manual_seed(0)
    return build_connector({"kind": kind, **options}, in_width=IN_WIDTH, out_width=OUT_WIDTH)


def features(plan: Plan, dtype: torch.dtype = torch.float32) -> Features:
    torch.manual_seed(1)
    height, width = plan.patches
    x = torch.randn(plan.units, height * width, IN_WIDTH, dtype=dtype, requires_grad=True)
    lengths = None if plan.valid is None else torch.tensor(plan.valid)
    return Features(x, plan.patches, lengths=lengths)


def fitting(connector: Connector) -> Iterator[Plan]:
    """Yield the plans that the connector takes; it may refuse a grid, but not all of them."""
    for plan in PLANS:
        try:
            connector.rows(plan)
        except ConfigError:
            continue
        yield plan


@pytest.mark.parametrize("kind", KINDS)
def test_forward_makes_the_promised_rows(kind: str) -> None:
    connector = made(kind)
    plans = list(fitting(connector))
    assert plans
    for plan in plans:
        rows = connector(features(plan))
        assert rows.shape == (connector.rows(plan), OUT_WIDTH)
        assert rows.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_spans_of_a_batch_do_not_see_each_other(kind: str) -> None:
    connector = made(kind).eval()
    for plan in fitting(connector):
        one, other = features(plan), features(plan).x.detach().flip(0, 1)
        lengths = None if one.lengths is None else torch.cat([one.lengths, one.lengths])
        both = connector(Features(torch.cat([one.x, other]), plan.patches, lengths=lengths))
        torch.testing.assert_close(both[: connector.rows(plan)], connector(one), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_of_a_sound_changes_nothing_but_its_last_row(kind: str) -> None:
    connector = made(kind).eval()
    for plan in fitting(connector):
        if plan.valid is None or plan.valid[-1] == plan.patches[1]:
            continue
        one = features(plan)
        if connector.rows(dataclasses.replace(plan, valid=None)) == connector.rows(plan):
            continue  # it makes rows of the padding too: the layout must not trim
        louder = one.x.detach().clone()
        louder[-1, -1] += 5
        again = connector(one._replace(x=louder))
        torch.testing.assert_close(again, connector(one), rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_and_every_input_receives_gradient(kind: str) -> None:
    connector = made(kind)
    plan = next(fitting(connector))
    given = features(plan)
    rows = connector(given)
    (rows * torch.randn_like(rows)).sum().backward()
    for name, parameter in connector.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
    assert given.x.grad is not None
    assert (given.x.grad != 0).any(dim=-1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_stays_half_precision(kind: str) -> None:
    connector = made(kind)
    plan = next(fitting(connector))
    single = connector(features(plan))
    half = connector.to(torch.bfloat16)(features(plan, torch.bfloat16))
    assert half.dtype == torch.bfloat16
    assert (half.float() - single).abs().max() < 0.1 * single.abs().max()


@pytest.mark.parametrize("kind", KINDS)
def test_no_units_are_no_rows(kind: str) -> None:
    connector = made(kind)
    empty = features(next(fitting(connector)))
    assert connector(empty._replace(x=empty.x[:0])).shape == (0, OUT_WIDTH)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_weights_give_the_same_rows(kind: str) -> None:
    connector = made(kind).eval()
    weights: dict[str, Tensor] = {k: v.clone() for k, v in connector.state_dict().items()}
    torch.manual_seed(9)
    again = build_connector({"kind": kind}, in_width=IN_WIDTH, out_width=OUT_WIDTH).eval()
    given = features(next(fitting(connector)))
    assert not torch.equal(again(given), connector(given))
    again.load_state_dict(weights, strict=True)
    assert torch.equal(again(given), connector(given))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_weights(kind: str) -> None:
    for one, two in zip(made(kind).parameters(), made(kind).parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("kind", KINDS)
def test_options_are_documented_and_checked(kind: str) -> None:
    cls = connectors.get(kind)
    assert inspect.getmodule(cls).__doc__
    assert cls.__doc__
    config = inspect.getdoc(cls.Config) or ""
    for field in dataclasses.fields(cls.Config):
        assert f"{field.name}: " in config, f"{kind}.Config does not describe {field.name}"
        with pytest.raises(ConfigError, match=rf"{kind}', option '{field.name}'.*found"):
            made(kind, **{field.name: "no number"})
    with pytest.raises(ConfigError, match=rf"connector '{kind}' has no option 'colour'"):
        made(kind, colour=1)
