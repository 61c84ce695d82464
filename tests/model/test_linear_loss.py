from __future__ import annotations

import pytest
import torch
from torch import nn

from hocket.model import loss as loss_module
from hocket.model.linear_loss import LinearLoss, takes


@pytest.mark.parametrize("chunk", [3, 7, 64])
@pytest.mark.parametrize(("states_learn", "head_learns"), [(True, True), (True, False)])
def test_loss_and_gradients_are_those_of_cross_entropy(
    chunk: int, states_learn: bool, head_learns: bool
) -> None:
    torch.manual_seed(0)
    head = nn.Linear(8, 19, bias=False).requires_grad_(head_learns)
    states = (3 * torch.randn(7, 8)).requires_grad_(states_learn)
    goals, weights = torch.randint(0, 19, (7,)), torch.rand(7)
    found = []
    for fused in (False, True):
        states.grad = head.weight.grad = None
        if fused:
            total, each = LinearLoss.apply(states, head.weight, goals, weights, chunk)
        else:
            each = nn.functional.cross_entropy(head(states), goals, reduction="none")
            total = (each * weights).sum()
        (total / 3).backward()
        found.append((total.detach(), each.detach(), states.grad, head.weight.grad))
    for one, other in zip(*found, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert (one - other).abs().max() <= 1e-6


def test_large_logits_do_not_overflow() -> None:
    states = torch.full((2, 4), 100.0, requires_grad=True)
    matrix = torch.eye(4) * 50
    total, _ = LinearLoss.apply(states, matrix, torch.tensor([0, 1]), torch.ones(2), 8)
    total.backward()
    assert total.item() == pytest.approx(2 * torch.tensor(4.0).log().item())
    assert states.grad is not None
    assert bool(states.grad.isfinite().all())


def test_half_precision_states_get_half_precision_gradients() -> None:
    states = torch.randn(5, 8, dtype=torch.bfloat16, requires_grad=True)
    head = nn.Linear(8, 19, bias=False, dtype=torch.bfloat16)
    total, each = LinearLoss.apply(states, head.weight, torch.arange(5), torch.ones(5), 2)
    total.backward()
    assert total.dtype == each.dtype == torch.float32
    assert states.grad is not None and states.grad.dtype == torch.bfloat16
    assert head.weight.grad is not None and head.weight.grad.dtype == torch.bfloat16


def test_only_plain_heads_are_taken() -> None:
    head = nn.Linear(8, 19, bias=False)
    assert takes(head)
    assert not takes(nn.Linear(8, 19))
    assert not takes(nn.Sequential(head))
    head.register_forward_hook(lambda *_: None)
    assert not takes(head)


def test_a_plain_loss_takes_this_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(loss_module, "_chunk_loss", refuse)
    hidden, labels = torch.randn(1, 4, 8, requires_grad=True), torch.tensor([[1, 2, 3, 4]])
    head = nn.Linear(8, 19, bias=False)
    assert loss_module.supervised_loss(hidden, labels, head, None).total.requires_grad
