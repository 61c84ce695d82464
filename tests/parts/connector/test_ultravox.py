from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hocket._errors import ConfigError
from hocket.parts.connector.ultravox import Norm, Ultravox
from hocket.parts.features import Features
from hocket.tokens.span import Plan


def normed(x: Tensor, weight: Tensor) -> Tensor:
    return weight * x / (x.pow(2).mean(dim=-1, keepdim=True) + 1e-6).sqrt()


@pytest.mark.parametrize("norm", Norm)
def test_layers_are_ultravoxs(norm: Norm) -> None:
    torch.manual_seed(0)
    connector = Ultravox(Ultravox.Config(frames=3, hidden=8, norm=norm), in_width=2, out_width=5)
    for value in connector.parameters():
        nn.init.normal_(value)
    w = connector.state_dict()
    second = "ln_mid.weight" if norm is Norm.MIDDLE else "ln_post.weight"
    assert set(w) == {"ln_pre.weight", "linear_1.weight", "linear_2.weight", second}
    x = torch.randn(2, 7, 2)
    lengths = torch.tensor([7, 4])
    stacks = nn.functional.pad(x, (0, 0, 0, 2)).reshape(2, 3, 6)
    kept = torch.cat([stacks[0], stacks[1, :2]])
    value, gate = (normed(kept, w["ln_pre.weight"]) @ w["linear_1.weight"].T).split(4, dim=-1)
    hidden = gate * gate.sigmoid() * value
    if norm is Norm.MIDDLE:
        expected = normed(hidden, w[second]) @ w["linear_2.weight"].T
    else:
        expected = normed(hidden @ w["linear_2.weight"].T, w[second])
    rows = connector(Features(x, (1, 7), lengths=lengths))
    torch.testing.assert_close(rows, expected)
    plan = Plan(units=2, patches=(1, 7), rows=0, grid=(2, 1, 7), valid=(7, 4))
    assert connector.rows(plan) == 5


def test_the_gate_is_as_wide_as_the_language_model() -> None:
    connector = Ultravox(Ultravox.Config(), in_width=2, out_width=5)
    assert connector.linear_1.weight.shape == (10, 16)
    assert connector.linear_2.weight.shape == (5, 5)


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="hidden is 7, expected an even number"):
        Ultravox(Ultravox.Config(hidden=7), in_width=2, out_width=5)
    with pytest.raises(ConfigError, match="frames is 0"):
        Ultravox(Ultravox.Config(frames=0), in_width=2, out_width=5)
