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
from hocket.tokens.span import Modality, Plan

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
# A connector that passes features through needs them as wide as its rows.
WIDTHS = {"identity": OUT_WIDTH}
# Options beside the defaults, for parts of a connector that these leave out.
CASES: list[tuple[str, dict[str, Any]]] = [
    *((kind, {}) for kind in KINDS),
    ("conv_audio", {"adapter": "cnn", "kernel": 3}),
    ("conv_audio", {"convolutions": 2, "kernel": 4}),
    ("conv_audio", {"adapter": "linear"}),
    ("conv_audio", {"norm": "batch", "activation": "relu"}),
    ("mlp_downsample", {"variant": "3x3"}),
    ("mlp_downsample", {"variant": "3x3_s2", "order": "column_major"}),
    ("mlp_downsample", {"variant": "3x3_s2_new"}),
    ("pixel_shuffle", {"norm": False, "order": "column_major"}),
    ("qformer", {"width": 8, "depth": 3, "frames": 2}),
    ("qwen2_audio", {"pool": 4, "norm": True}),
    ("resampler", {"queries": 3, "frames": 100}),
    ("spp", {"variant": "v2"}),
    ("spp", {"variant": "v3"}),
    ("temporal_pool", {"frames": 3, "height": 2, "width": 2, "order": "project_first"}),
    ("temporal_pool", {"frames": 2, "width": 2, "inner": {"kind": "mlp_downsample"}}),
    ("time_embedding", {"form": "learned", "longest": 2.0}),
    ("time_embedding", {"inner": {"kind": "temporal_pool", "frames": 2}}),
    ("ultravox", {"frames": 3, "norm": "last", "hidden": 6}),
    ("visual_vocab", {"vocab": 30, "stride": 3, "marks": False, "chunk": 2}),
    ("visual_vocab", {"vocab": 30, "indicators": 5, "tokenize": "straight_through"}),
    ("visual_vocab", {"vocab": 30, "tokenize": "gumbel", "tau": 0.5, "stride": 1}),
]
NAMED = [pytest.param(*case, id="-".join([case[0], *map(str, case[1].values())])) for case in CASES]
every_case = pytest.mark.parametrize(("kind", "options"), NAMED)


def made(kind: str, **options: Any) -> Connector:
    torch.manual_seed(0)
    return build_connector({"kind": kind, **options}, in_width=in_width(kind), out_width=OUT_WIDTH)


def in_width(kind: str) -> int:
    return WIDTHS.get(kind, IN_WIDTH)


def features(
    kind: str, plan: Plan, dtype: torch.dtype = torch.float32, *, seed: int = 1
) -> Features:
    torch.manual_seed(seed)
    height, width = plan.patches
    x = torch.randn(plan.units, height * width, in_width(kind), dtype=dtype, requires_grad=True)
    lengths = None if plan.valid is None else torch.tensor(plan.valid)
    spans = None
    if plan.valid is None:
        spans = torch.tensor([[plan.units, plan.rows, *plan.grid, *plan.tiles]])
    return Features(x, plan.patches, spans=spans, lengths=lengths)


def film(kind: str, *frames: int, pool: int, side: int = 4) -> tuple[Features, list[Plan]]:
    """Return the features of videos of so many frames, 0.4 seconds apart, and their plans."""
    one = Plan(units=1, patches=(side, side), rows=side * side, grid=(1, side, side))
    plans = [one.repeat(count, pool=pool) for count in frames]
    torch.manual_seed(2)
    x = torch.randn(sum(frames), side * side, in_width(kind), requires_grad=True)
    spans = [[plan.units, plan.rows, *plan.grid, *plan.tiles] for plan in plans]
    times = torch.cat([0.4 * torch.arange(count, dtype=torch.float32) for count in frames])
    given = Features(
        x, (side, side), spans=torch.tensor(spans), times=times, modality=Modality.VIDEO
    )
    return given, plans


def fitting(connector: Connector) -> Iterator[Plan]:
    """Yield the plans that the connector takes; it may refuse a grid, but not all of them."""
    for plan in PLANS:
        try:
            connector.rows(plan)
        except ConfigError:
            continue
        yield plan


@every_case
def test_forward_makes_the_promised_rows(kind: str, options: dict[str, Any]) -> None:
    connector = made(kind, **options)
    plans = list(fitting(connector))
    assert plans
    for plan in plans:
        rows = connector(features(kind, plan))
        assert rows.shape == (connector.rows(plan), OUT_WIDTH)
        assert rows.isfinite().all()


@every_case
def test_spans_of_a_batch_do_not_see_each_other(kind: str, options: dict[str, Any]) -> None:
    connector = made(kind, **options).eval()
    for plan in fitting(connector):
        one, other = features(kind, plan), features(kind, plan).x.detach().flip(0, 1)
        lengths = None if one.lengths is None else torch.cat([one.lengths, one.lengths])
        spans = None if one.spans is None else torch.cat([one.spans, one.spans])
        x = torch.cat([one.x, other])
        both = connector(Features(x, plan.patches, spans=spans, lengths=lengths))
        torch.testing.assert_close(both[: connector.rows(plan)], connector(one), rtol=0, atol=1e-5)


@every_case
def test_padding_of_a_sound_changes_nothing_but_its_last_row(
    kind: str, options: dict[str, Any]
) -> None:
    connector = made(kind, **options).eval()
    for plan in fitting(connector):
        if plan.valid is None or plan.valid[-1] == plan.patches[1]:
            continue
        one = features(kind, plan)
        if connector.rows(dataclasses.replace(plan, valid=None)) == connector.rows(plan):
            continue  # it makes rows of the padding too: the layout must not trim
        louder = one.x.detach().clone()
        louder[-1, -1] += 5
        again = connector(one._replace(x=louder))
        torch.testing.assert_close(again, connector(one), rtol=0, atol=0)


@every_case
def test_every_parameter_and_every_input_receives_gradient(
    kind: str, options: dict[str, Any]
) -> None:
    connector = made(kind, **options)
    plan = next(fitting(connector))
    reached: Tensor | None = None
    # A maximum hands its gradient to one position only, each time another.
    for seed in range(8):
        given = features(kind, plan, seed=seed)._replace(
            times=torch.linspace(0.2, 3, plan.units) if plan.valid is None else None
        )
        rows = connector(given)
        (rows * torch.randn_like(rows)).sum().backward()
        assert given.x.grad is not None
        felt = (given.x.grad != 0).any(dim=-1)
        reached = felt if reached is None else reached | felt
    for name, parameter in connector.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
    assert reached is not None
    assert reached.all(), "no gradient reaches (unit, position) " + str((~reached).nonzero()[0])


@every_case
def test_videos_of_a_batch_make_the_rows_of_their_plans(kind: str, options: dict[str, Any]) -> None:
    connector = made(kind, **options).eval()
    given, plans = film(kind, 5, 1, 2, pool=connector.frame_pool)
    try:
        counts = [connector.rows(plan) for plan in plans]
    except ConfigError:
        pytest.skip("it takes no pictures")
    rows = connector(given)
    assert len(rows) == sum(counts)
    # Rows that a video has once, whatever its length.
    twice = dataclasses.replace(plans[1], units=2, pieces=None, frames=0)
    extra = 2 * counts[1] - connector.rows(twice)
    assert counts == [(counts[1] - extra) * plan.grid[0] + extra for plan in plans]
    start, unit = 0, 0
    for plan, count in zip(plans, counts, strict=True):
        units = slice(unit, unit + plan.units)
        assert given.spans is not None and given.times is not None
        index = plans.index(plan)
        alone = given._replace(
            x=given.x[units], spans=given.spans[index : index + 1], times=given.times[units]
        )
        torch.testing.assert_close(rows[start : start + count], connector(alone), rtol=0, atol=1e-5)
        start, unit = start + count, unit + plan.units


@every_case
def test_half_precision_stays_half_precision(kind: str, options: dict[str, Any]) -> None:
    connector = made(kind, **options)
    plan = next(fitting(connector))
    single = connector(features(kind, plan))
    half = connector.to(torch.bfloat16)(features(kind, plan, torch.bfloat16))
    assert half.dtype == torch.bfloat16
    assert (half.float() - single).abs().max() < 0.1 * single.abs().max()


@every_case
def test_no_units_are_no_rows(kind: str, options: dict[str, Any]) -> None:
    connector = made(kind, **options)
    empty = features(kind, next(fitting(connector)))
    spans = None if empty.spans is None else empty.spans[:0]
    assert connector(empty._replace(x=empty.x[:0], spans=spans)).shape == (0, OUT_WIDTH)


@every_case
def test_saved_weights_give_the_same_rows(kind: str, options: dict[str, Any]) -> None:
    connector = made(kind, **options).eval()
    weights: dict[str, Tensor] = {k: v.clone() for k, v in connector.state_dict().items()}
    torch.manual_seed(9)
    again = build_connector(
        {"kind": kind, **options}, in_width=in_width(kind), out_width=OUT_WIDTH
    ).eval()
    given = features(kind, next(fitting(connector)))
    assert not weights or not torch.equal(again(given), connector(given))
    again.load_state_dict(weights, strict=True)
    assert torch.equal(again(given), connector(given))


@every_case
def test_the_same_seed_gives_the_same_weights(kind: str, options: dict[str, Any]) -> None:
    for one, two in zip(
        made(kind, **options).parameters(), made(kind, **options).parameters(), strict=True
    ):
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
