from __future__ import annotations

import pytest
import torch
from torch import nn

from hocket.model import loss
from hocket.model.loss import supervised_loss
from hocket.tokens.batch import IGNORED


def case(supervised: float) -> tuple[torch.Tensor, torch.Tensor, nn.Linear]:
    torch.manual_seed(0)
    hidden = torch.randn(3, 40, 8, requires_grad=True)
    labels = torch.randint(0, 20, (3, 40))
    labels[torch.rand(3, 40) >= supervised] = IGNORED
    return hidden, labels, nn.Linear(8, 20)


@pytest.mark.parametrize("chunk", [1000, 7])
@pytest.mark.parametrize("supervised", [1.0, 0.4])
def test_loss_and_gradients_are_those_of_all_logits(
    chunk: int, supervised: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "CHUNK", chunk)
    hidden, labels, head = case(supervised)
    own = supervised_loss(hidden, labels, head, None)
    expected = nn.functional.cross_entropy(
        head(hidden)[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED
    )
    torch.testing.assert_close(own, expected, rtol=0, atol=1e-6)
    inputs = (hidden, head.weight, head.bias)
    pairs = zip(
        torch.autograd.grad(own, inputs), torch.autograd.grad(expected, inputs), strict=True
    )
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)


def test_the_step_decides_what_the_loss_is_divided_by() -> None:
    hidden, labels, head = case(0.5)
    count = int((labels[:, 1:] != IGNORED).sum())
    mean = supervised_loss(hidden, labels, head, None)
    for items in (4 * count, torch.tensor(4.0 * count)):
        own = supervised_loss(hidden, labels, head, items)
        torch.testing.assert_close(own, mean / 4, rtol=1e-6, atol=0)


def test_nothing_to_learn_is_a_loss_of_zero_with_gradients() -> None:
    hidden, labels, head = case(0.0)
    own = supervised_loss(hidden, labels, head, None)
    own.backward()
    assert own.item() == 0
    assert hidden.grad is not None
    assert not hidden.grad.any()


def test_half_precision_is_summed_in_single() -> None:
    hidden, labels, head = case(1.0)
    own = supervised_loss(hidden.bfloat16(), labels, head.bfloat16(), None)
    assert own.dtype == torch.float32
