from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hocket._errors import ConfigError
from hocket.model import loss
from hocket.model.loss import LossOptions, supervised_loss
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
    own = supervised_loss(hidden, labels, head, None).total
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
    mean = supervised_loss(hidden, labels, head, None).total
    for items in (4 * count, torch.tensor(4.0 * count)):
        own = supervised_loss(hidden, labels, head, items).total
        torch.testing.assert_close(own, mean / 4, rtol=1e-6, atol=0)


def test_nothing_to_learn_is_a_loss_of_zero_with_gradients() -> None:
    hidden, labels, head = case(0.0)
    own = supervised_loss(hidden, labels, head, None).total
    own.backward()
    assert own.item() == 0
    assert hidden.grad is not None
    assert not hidden.grad.any()


def test_half_precision_is_summed_in_single() -> None:
    hidden, labels, head = case(1.0)
    own = supervised_loss(hidden.bfloat16(), labels, head.bfloat16(), None).total
    assert own.dtype == torch.float32


def test_the_loss_of_each_sample_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "CHUNK", 7)
    hidden, labels, head = case(0.5)
    samples = torch.arange(3 * 40).reshape(3, 40) // 25
    found = supervised_loss(hidden, labels, head, 1, samples=samples).samples
    each = nn.functional.cross_entropy(
        head(hidden)[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none", ignore_index=IGNORED
    )
    expected = torch.stack([each[samples[:, 1:] == number].sum() for number in range(5)])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert not found.requires_grad


def test_weights_count_labels_more_or_less() -> None:
    hidden, labels, head = case(0.5)
    weights = torch.rand(3, 40)
    wanted = labels[:, 1:] != IGNORED
    each = nn.functional.cross_entropy(
        head(hidden)[:, :-1][wanted], labels[:, 1:][wanted], reduction="none"
    )
    counted = weights[:, 1:][wanted]
    own = supervised_loss(hidden, labels, head, None, weights=weights).total
    torch.testing.assert_close(own, (each * counted).sum() / counted.sum(), rtol=1e-5, atol=0)
    small = supervised_loss(hidden, labels, head, 0.25, weights=weights).total
    torch.testing.assert_close(small, (each * counted).sum() * 4, rtol=1e-5, atol=0)


def test_smoothing_and_z_loss_are_added() -> None:
    hidden, labels, head = case(1.0)
    logits, goals = head(hidden)[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    options = LossOptions(label_smoothing=0.1, z_loss=1e-2)
    own = supervised_loss(hidden, labels, head, None, options=options).total
    expected = nn.functional.cross_entropy(logits, goals, label_smoothing=0.1)
    expected = expected + 1e-2 * torch.logsumexp(logits, dim=-1).square().mean()
    torch.testing.assert_close(own, expected, rtol=1e-5, atol=0)


def test_time_tokens_have_soft_targets() -> None:
    hidden, _, head = case(1.0)
    labels = torch.full((3, 40), 3)
    labels[:, 10] = 15
    options = LossOptions(moment_first=12, moments=6, moment_std=1.5)
    own = supervised_loss(hidden, labels, head, 1, options=options).total
    logs = torch.log_softmax(head(hidden)[:, :-1], dim=-1)
    bells = torch.tensor([math.exp(-((at - 3) ** 2) / (2 * 1.5**2)) for at in range(6)])
    soft = -(logs[:, 9, 12:18] * (bells / bells.sum())).sum()
    hard = -logs[:, :, 3].sum() + logs[:, 9, 3].sum()
    torch.testing.assert_close(own, soft + hard, rtol=1e-5, atol=0)


@pytest.mark.parametrize("wrong", [{"label_smoothing": 1.0}, {"z_loss": -1.0}, {"moment_std": -1}])
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        LossOptions(**wrong)
