"""Stack neighbouring frames into the channels, then two linear layers.

For sound: (U, P, C) with only the first `lengths` frames of a unit real gives
ceil(length / frames) rows per unit. `ultravox` stacks alike and has Ultravox's gated layers.

Letters: U encoder units, P frames of a unit, C encoder width, D language width, R rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from hocket._errors import ConfigError
from hocket.parts.connector import Connector, connectors
from hocket.parts.connector._stacking import count_stacks, stack_frames
from hocket.parts.features import Features
from hocket.tokens.span import Plan


@connectors.register
class Stack(Connector):
    """Trade frames for channels, then project; rows of pure padding are left out."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            frames: neighbouring encoder frames that become one row.
        """

        frames: int = 4

    def __init__(self, config: Config, *, in_width: int, out_width: int) -> None:
        super().__init__()
        if config.frames < 1:
            raise ConfigError(f"connector 'stack': frames is {config.frames}, expected 1 or more.")
        self.frames = config.frames
        width = in_width * config.frames
        self.norm = nn.LayerNorm(width)
        self.linear_1 = nn.Linear(width, out_width)
        self.act = nn.GELU()
        self.linear_2 = nn.Linear(out_width, out_width)

    def rows(self, plan: Plan) -> int:
        """One row per stack that holds at least one real frame."""
        return count_stacks(plan, self.frames)

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (R, D)."""
        x = self.norm(stack_frames(features, self.frames))
        return self.linear_2(self.act(self.linear_1(x)))
