"""One linear layer; one row per patch (LLaVA's first projector)."""

from __future__ import annotations

from dataclasses import dataclass

from einops import rearrange
from torch import Tensor, nn

from hocket.parts.connector import Connector, connectors
from hocket.parts.features import Features
from hocket.tokens.span import Plan


@connectors.register
class Linear(Connector):
    """Project every position of every unit."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            bias: whether the layer has a bias.
        """

        bias: bool = True

    def __init__(self, config: Config, *, in_width: int, out_width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_width, out_width, bias=config.bias)

    def rows(self, plan: Plan) -> int:
        """One row per position."""
        return plan.units * plan.patches[0] * plan.patches[1]

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (U * P, D)."""
        return rearrange(self.linear(features.x), "u p d -> (u p) d")
