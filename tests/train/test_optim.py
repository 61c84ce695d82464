"""Learning rates by hand, and AdamW's groups."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from hocket.train.optim import build_optimizer, learning_rate_share, set_learning_rate
from hocket.train.recipe import Group, Schedule, Stage
from hocket.train.trainable import select_trainable


def stage(schedule: Schedule, *, warmup: int = 2, final: float = 0.1, steps: int = 10) -> Stage:
    return Stage(
        data={},
        trainable={},
        steps=steps,
        warmup_steps=warmup,
        schedule=schedule,
        final_share=final,
    )


# Two steps of warm-up to the peak, then eight steps: eighths of the way to the final share.
BY_HAND = {
    Schedule.CONSTANT: [0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    Schedule.LINEAR: [0.5, 1, 1, 0.8875, 0.775, 0.6625, 0.55, 0.4375, 0.325, 0.2125],
    Schedule.FLAT_LINEAR: [0.5, 1, 1, 1, 1, 1, 1, 0.775, 0.55, 0.325],
    Schedule.COSINE: [
        0.5,
        1,
        *(0.1 + 0.45 * (1 + math.cos(math.pi * eighth / 8)) for eighth in range(8)),
    ],
}


@pytest.mark.parametrize("schedule", list(Schedule))
def test_shares_by_hand(schedule: Schedule) -> None:
    shares = [learning_rate_share(stage(schedule), step) for step in range(10)]
    assert shares == pytest.approx(BY_HAND[schedule])


def test_a_cosine_is_half_way_in_the_middle() -> None:
    assert learning_rate_share(stage(Schedule.COSINE), 6) == pytest.approx(0.55)


@pytest.mark.parametrize("schedule", list(Schedule))
def test_the_end_and_beyond(schedule: Schedule) -> None:
    last = 1.0 if schedule is Schedule.CONSTANT else 0.1
    for step in (10, 11, 1000):
        assert learning_rate_share(stage(schedule), step) == pytest.approx(last)


@pytest.mark.parametrize("schedule", list(Schedule))
def test_no_warm_up_starts_at_the_peak(schedule: Schedule) -> None:
    assert learning_rate_share(stage(schedule, warmup=0), 0) == pytest.approx(1.0)


def test_a_warm_up_longer_than_the_stage_never_reaches_the_peak() -> None:
    long = stage(Schedule.COSINE, warmup=40)
    assert [learning_rate_share(long, step) for step in (0, 9)] == pytest.approx([0.025, 0.25])


def test_every_group_has_its_own_peak() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    chosen = select_trainable(
        model,
        {
            "first": Group(match="0.*", lr=1e-3, weight_decay=0.1),
            "second": Group(match="1.*", lr=4e-3, weight_decay=0.2),
        },
    )
    optimizer = build_optimizer(model, chosen, betas=(0.9, 0.95))
    assert [tuple(group["names"]) for group in optimizer.param_groups] == [
        ("0.weight",),
        ("0.bias",),
        ("1.weight",),
        ("1.bias",),
    ]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0, 0.2, 0.0]
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.95)}
    share = set_learning_rate(optimizer, stage(Schedule.CONSTANT), 0)
    assert share == 0.5
    assert [group["lr"] for group in optimizer.param_groups] == [5e-4, 5e-4, 2e-3, 2e-3]


def test_without_a_gradient_only_matrices_shrink() -> None:
    model = nn.Linear(2, 2)
    nn.init.ones_(model.weight)
    nn.init.ones_(model.bias)
    chosen = select_trainable(model, {"all": Group(match="*", lr=0.1, weight_decay=0.5)})
    optimizer = build_optimizer(model, chosen, betas=(0.9, 0.95))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.allclose(model.weight, torch.full((2, 2), 0.95))
    assert torch.equal(model.bias, torch.ones(2))


def test_the_fused_step_is_the_step_of_plain_operators() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 4))
    chosen = select_trainable(model, {"all": Group(match="*", lr=1e-2, weight_decay=0.1)})
    optimizer = build_optimizer(model, chosen, betas=(0.9, 0.98))
    plain = copy.deepcopy(model)
    groups = [
        {
            "params": [plain.get_parameter(name) for name in group["names"]],
            "lr": group["lr"],
            "weight_decay": group["weight_decay"],
        }
        for group in optimizer.param_groups
    ]
    slow = torch.optim.AdamW(groups, betas=(0.9, 0.98), foreach=False, fused=False)
    for _ in range(5):
        for one, other in zip(model.parameters(), plain.parameters(), strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        optimizer.step()
        slow.step()
    assert optimizer.defaults["fused"]
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
