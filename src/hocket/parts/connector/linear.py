"""One linear layer; one row per position that is no padding (LLaVA's first projector).

The parameter ``linear`` is ``mm_projector`` itself in LLaVA's checkpoints.

Letters: U encoder units, P positions, C encoder width, D language width, R rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from hocket.parts.connector import Connector, connectors
from hocket.parts.connector._stacking import count_stacks, keep_real
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
        """One row per position that is no padding."""
        return count_stacks(plan, 1)

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (R, D)."""
        return self.linear(keep_real(features.x, features.lengths, 1))
