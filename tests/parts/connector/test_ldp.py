from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hocket._errors import ConfigError
from hocket.parts.connector.ldp import InvertedResidual, Ldp
from hocket.parts.features import Features
from hocket.tokens.span import Plan


def block(state: dict[str, Tensor], x: Tensor, stride: int) -> Tensor:
    """MobileNetV3's inverted residual of one picture (D, H, W), step by step."""
    width, height, wide = x.shape
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    kernel = state["depthwise.weight"][:, 0]
    y = torch.stack(
        [
            (padded[:, top : top + 3, left : left + 3] * kernel).sum(dim=(1, 2))
            for top in range(0, height, stride)
            for left in range(0, wide, stride)
        ]
    )
    y = nn.functional.layer_norm(y, (width,), state["norm_1.weight"], state["norm_1.bias"])
    y = y * (y + 3).clamp(0, 6) / 6
    mean = y.mean(dim=0)
    small = (state["squeeze.weight"][..., 0, 0] @ mean + state["squeeze.bias"]).clamp(min=0)
    gate = state["excite.weight"][..., 0, 0] @ small + state["excite.bias"]
    y = y * ((gate + 3).clamp(0, 6) / 6)
    y = y @ state["pointwise.weight"][..., 0, 0].T
    y = nn.functional.layer_norm(y, (width,), state["norm_2.weight"], state["norm_2.bias"])
    made = y.T.reshape(width, -(-height // stride), -(-wide // stride))
    return x + made if stride == 1 else made


@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_is_mobilenets(stride: int) -> None:
    torch.manual_seed(0)
    part = InvertedResidual(6, stride=stride)
    for value in part.parameters():
        nn.init.normal_(value)
    x = torch.randn(2, 6, 5, 4)
    expected = torch.stack([block(part.state_dict(), one, stride) for one in x])
    torch.testing.assert_close(part(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("width", "squeezed"), [(20, 8), (64, 16), (72, 24), (4096, 1024)])
def test_the_squeeze_is_a_quarter_in_eights(width: int, squeezed: int) -> None:
    with torch.device("meta"):
        assert InvertedResidual(width, stride=1).squeeze.out_channels == squeezed


def test_the_grid_is_halved_row_by_row() -> None:
    connector = Ldp(Ldp.Config(), in_width=3, out_width=6)
    x = torch.randn(2, 15, 3)
    rows = connector(Features(x, (5, 3)))
    assert len(rows) == connector.rows(Plan(units=2, patches=(5, 3), rows=0, grid=(2, 5, 3))) == 12
    hidden = connector.linear_2(nn.functional.gelu(connector.linear_1(x[1])))
    square = hidden.T.reshape(1, 6, 5, 3)
    expected = connector.block_2(connector.block_1(square))[0]
    torch.testing.assert_close(rows[6:], expected.flatten(1).T)


def test_a_sound_is_refused() -> None:
    with pytest.raises(ConfigError, match="a sound has no grid"):
        Ldp(Ldp.Config(), in_width=3, out_width=6).rows(
            Plan(units=1, patches=(1, 8), rows=0, grid=(1, 1, 8), valid=(8,))
        )
