from __future__ import annotations

import pytest
import torch

from hocket._errors import ConfigError
from hocket.parts.connector.mlp import Mlp
from hocket.parts.features import Features


def test_two_layers_have_the_names_of_llavas_projector() -> None:
    names = set(Mlp(Mlp.Config(), in_width=3, out_width=4).state_dict())
    assert names == {"linear_1.weight", "linear_1.bias", "linear_2.weight", "linear_2.bias"}


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_layers_follow_each_other_with_gelu_between(depth: int) -> None:
    connector = Mlp(Mlp.Config(depth=depth, bias=False), in_width=3, out_width=4)
    x = torch.randn(2, 5, 3)
    expected = x.flatten(0, 1) @ connector.state_dict()["linear_1.weight"].T
    for number in range(2, depth + 1):
        weight = connector.state_dict()[f"linear_{number}.weight"]
        expected = torch.nn.functional.gelu(expected) @ weight.T
    torch.testing.assert_close(connector(Features(x, (1, 5))), expected)


def test_no_layers_are_refused() -> None:
    with pytest.raises(ConfigError, match="depth is 0, expected 1 or more"):
        Mlp(Mlp.Config(depth=0), in_width=3, out_width=4)
