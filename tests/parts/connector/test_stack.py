from __future__ import annotations

import pytest
import torch
from torch import nn

from hocket._errors import ConfigError
from hocket.parts.connector.stack import Stack
from hocket.parts.features import Features
from hocket.tokens.span import Plan


def test_frames_are_stacked_in_order_and_padding_is_left_out() -> None:
    connector = Stack(Stack.Config(frames=3), in_width=2, out_width=4)
    seen: list[torch.Tensor] = []
    connector.norm = nn.Identity()  # type: ignore[assignment] # to see what comes in
    connector.linear_1.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = torch.arange(2 * 7 * 2, dtype=torch.float32).view(2, 7, 2)
    connector(Features(x, (1, 7), lengths=torch.tensor([7, 4])))
    last = torch.cat([x[0, 6], torch.zeros(4)])
    expected = [x[0, 0:3].flatten(), x[0, 3:6].flatten(), last]
    expected += [x[1, 0:3].flatten(), x[1, 3:6].flatten()]
    assert torch.equal(seen[0], torch.stack(expected))
    plan = Plan(units=2, patches=(1, 7), rows=0, grid=(2, 1, 7), valid=(7, 4))
    assert connector.rows(plan) == 5


def test_no_frames_are_refused() -> None:
    with pytest.raises(ConfigError, match="frames is 0, expected 1 or more"):
        Stack(Stack.Config(frames=0), in_width=2, out_width=4)
