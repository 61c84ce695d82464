"""Four neighbouring positions interleaved channel by channel, then one linear layer.

VITA's ``vanilla``: features (U, P, C) become P / group rows per unit. Positions that follow each
other in reading order form a group, whose channels stand channel by channel: the first channel of
every position, then the second.
The parameter ``linear`` has VITA's name.

Letters: U encoder units, P positions, C encoder width, D language width.
"""

from __future__ import annotations

from dataclasses import dataclass

from einops import rearrange
from torch import Tensor, nn

from hocket._errors import ConfigError
from hocket.parts.connector import Connector, connectors
from hocket.parts.features import Features
from hocket.tokens.span import Plan


@connectors.register
class Vanilla(Connector):
    """Interleave neighbouring positions, then project."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            group: neighbouring positions that become one row.
        """

        group: int = 4

    def __init__(self, config: Config, *, in_width: int, out_width: int) -> None:
        super().__init__()
        if config.group < 1:
            raise ConfigError(f"connector 'vanilla': group is {config.group}, expected 1 or more.")
        self.group = config.group
        self.linear = nn.Linear(in_width * config.group, out_width)

    def rows(self, plan: Plan) -> int:
        """One row per group of positions.

        Raises:
            ConfigError: the positions of a unit cannot be cut into such groups.
        """
        positions = plan.patches[0] * plan.patches[1]
        if positions % self.group:
            raise ConfigError(
                f"connector 'vanilla': {positions} positions cannot be grouped by {self.group}. "
                "Choose a group that divides them."
            )
        return plan.units * positions // self.group

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (U * P / group, D)."""
        return self.linear(rearrange(features.x, "u (k g) c -> (u k) (c g)", g=self.group))
