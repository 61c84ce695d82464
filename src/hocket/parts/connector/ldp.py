"""Two linear layers, then two inverted residual blocks that halve the grid (MobileVLM, VITA).

Features (U, P, C) on a grid become ceil(height / 2) * ceil(width / 2) rows per unit. A block is
MobileNetV3's without an expansion: a 3 x 3 convolution of each channel, LayerNorm over the
channels, hard-swish; squeeze and excitation (mean, Conv, ReLU, Conv, hard-sigmoid); a 1 x 1
convolution and LayerNorm. The first block has stride 1 and adds its input, the second stride 2.

In VITA's checkpoints ``linear_1`` and ``linear_2`` are ``model.mlp.1`` and ``model.mlp.3``, and
``block_k`` is ``model.mb_block.k.block`` with ``depthwise`` = ``0.0``, ``norm_1`` = ``0.1``,
``squeeze`` = ``1.fc1``, ``excite`` = ``1.fc2``, ``pointwise`` = ``2.0``, ``norm_2`` = ``2.1``.

Letters: U encoder units, P patches, C encoder width, D language width, H and W sides of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass

from einops import rearrange
from torch import Tensor, nn

from hocket._errors import ConfigError
from hocket.parts.connector import Connector, connectors
from hocket.parts.features import Features
from hocket.tokens.span import Plan

_KERNEL = 3


class InvertedResidual(nn.Module):
    """MobileNetV3's block without an expansion, with a LayerNorm over the channels.

    Args:
        width: channels in and out.
        stride: of the convolution; at 1 the input is added.
    """

    def __init__(self, width: int, *, stride: int) -> None:
        super().__init__()
        self.residual = stride == 1
        self.depthwise = nn.Conv2d(
            width, width, _KERNEL, stride, padding=_KERNEL // 2, groups=width, bias=False
        )
        self.norm_1 = nn.LayerNorm(width)
        self.swish = nn.Hardswish()
        self.squeeze = nn.Conv2d(width, _squeezed(width), 1)
        self.relu = nn.ReLU()
        self.excite = nn.Conv2d(_squeezed(width), width, 1)
        self.gate = nn.Hardsigmoid()
        self.pointwise = nn.Conv2d(width, width, 1, bias=False)
        self.norm_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Turn (U, D, H, W) into (U, D, H', W')."""
        y = self.swish(_over_channels(self.norm_1, self.depthwise(x)))
        mean = y.mean(dim=(2, 3), keepdim=True)
        y = y * self.gate(self.excite(self.relu(self.squeeze(mean))))
        y = _over_channels(self.norm_2, self.pointwise(y))
        return x + y if self.residual else y


def _over_channels(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    return norm(x.movedim(1, -1)).movedim(-1, 1)


def _squeezed(width: int) -> int:
    """A quarter of the width, as the multiple of 8 that MobileNet rounds it to."""
    quarter = width // 4
    rounded = max(8, (quarter + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * quarter else rounded


@connectors.register
class Ldp(Connector):
    """Project, then let neighbouring patches mix and halve the grid."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """It has no options."""

    def __init__(self, config: Config, *, in_width: int, out_width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(in_width, out_width)
        self.act = nn.GELU()
        self.linear_2 = nn.Linear(out_width, out_width)
        self.block_1 = InvertedResidual(out_width, stride=1)
        self.block_2 = InvertedResidual(out_width, stride=2)

    def rows(self, plan: Plan) -> int:
        """One row per square of four patches, those at an odd end included.

        Raises:
            ConfigError: the plan is that of a sound.
        """
        if plan.valid is not None:
            raise ConfigError(
                "connector 'ldp': a sound has no grid of patches to convolve. Choose a connector "
                "for sound, such as 'stack'."
            )
        height, width = plan.patches
        return plan.units * -(-height // 2) * -(-width // 2)

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (R, D)."""
        x = self.linear_2(self.act(self.linear_1(features.x)))
        x = rearrange(x, "u (h w) d -> u d h w", h=features.grid[0])
        return rearrange(self.block_2(self.block_1(x)), "u d h w -> (u h w) d")
