from __future__ import annotations

from pathlib import Path

import pytest
import torch
from einops import rearrange
from safetensors.torch import load_file
from torch import nn
from transformers import InternVLConfig
from transformers.models.internvl.modeling_internvl import (
    InternVLModel,
    InternVLMultiModalProjector,
)

from hocket._errors import ConfigError
from hocket.parts.connector.pixel_shuffle import Order, PixelShuffle
from hocket.parts.features import Features
from hocket.tokens.span import Plan

GOLDEN = Path(__file__).parents[2] / "golden"


def test_a_row_holds_one_square_of_patches_row_by_row() -> None:
    connector = PixelShuffle(PixelShuffle.Config(fold=2), in_width=3, out_width=8)
    seen: list[torch.Tensor] = []
    connector.layer_norm = nn.Identity()  # type: ignore[assignment] # to see what comes in
    connector.linear_1.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = torch.randn(2, 4 * 6, 3)
    connector(Features(x, (4, 6)))
    picture = x.view(2, 4, 6, 3)
    expected = [
        torch.cat([picture[unit, 2 * row + a, 2 * column + b] for a in range(2) for b in range(2)])
        for unit in range(2)
        for row in range(2)
        for column in range(3)
    ]
    assert torch.equal(seen[0], torch.stack(expected))


def test_a_grid_that_does_not_fold_is_refused() -> None:
    connector = PixelShuffle(PixelShuffle.Config(fold=2), in_width=3, out_width=8)
    with pytest.raises(ConfigError, match="a grid of 4 x 5 patches cannot be folded by 2"):
        connector.rows(Plan(units=1, patches=(4, 5), rows=0, grid=(1, 4, 5)))
    with pytest.raises(ConfigError, match="fold is 0"):
        PixelShuffle(PixelShuffle.Config(fold=0), in_width=3, out_width=8)


def folded(connector: PixelShuffle, x: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Return what comes to the linear layers."""
    seen: list[torch.Tensor] = []
    connector.linear_1.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    connector(Features(x, grid))
    return seen[0]


def test_the_fold_is_vitas_pixel_shuffle() -> None:
    golden = load_file(GOLDEN / "pure_vita" / "pixel_shuffle.safetensors")
    connector = PixelShuffle(PixelShuffle.Config(norm=False), in_width=3, out_width=8)
    units = folded(connector, golden["in"].flatten(1, 2), (4, 6))
    assert torch.equal(units, golden["out"].flatten(0, 2))


def test_columns_first_swaps_the_patches_of_a_square() -> None:
    x = torch.randn(1, 4, 3)
    options = PixelShuffle.Config(norm=False, order=Order.COLUMN_MAJOR)
    units = folded(PixelShuffle(options, in_width=3, out_width=8), x, (2, 2))
    assert torch.equal(units[0], x[0, [0, 2, 1, 3]].flatten())


def test_vitas_projector_gives_vitas_rows() -> None:
    golden = load_file(GOLDEN / "vita15" / "projector.safetensors")
    connector = PixelShuffle(PixelShuffle.Config(norm=False), in_width=32, out_width=48)
    connector.load_state_dict(
        {
            f"linear_{number}.{leaf}": golden[f"weights.{2 * number - 2}.{leaf}"]
            for number in (1, 2)
            for leaf in ("weight", "bias")
        }
    )
    # The recorded features are folded already: put the patches back on their grid.
    x = rearrange(golden["in"], "u (h w) (a b c) -> u (h a w b) c", h=2, a=2, b=2)
    rows = connector(Features(x, (4, 4)))
    torch.testing.assert_close(rows, golden["out"].flatten(0, 1), rtol=0, atol=1e-5)


def test_it_is_transformers_internvl_projector() -> None:
    config = InternVLConfig()
    config.vision_config.hidden_size, config.text_config.hidden_size = 6, 10
    twin = InternVLMultiModalProjector(config)
    nn.init.normal_(twin.layer_norm.weight)
    nn.init.normal_(twin.layer_norm.bias)
    connector = PixelShuffle(PixelShuffle.Config(), in_width=6, out_width=10)
    connector.load_state_dict(twin.state_dict())
    x = torch.randn(2, 16, 6)
    square = x.reshape(2, 4, 4, 6)
    expected = twin(InternVLModel.pixel_shuffle(None, square, 0.5).reshape(2, 4, 24))
    assert torch.equal(connector(Features(x, (4, 4))), expected.flatten(0, 1))
