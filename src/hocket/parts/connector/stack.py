"""Stack neighbouring frames into the channels, then two linear layers.

For sound: (U, P, C) with only the first `lengths` frames of a unit real gives
ceil(length / frames) rows per unit. The shape of Ultravox's projector, without its gated unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from hocket._errors import ConfigError
from hocket.parts.connector import Connector, connectors
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
        valid = plan.valid or (plan.patches[0] * plan.patches[1],) * plan.units
        return sum(-(-length // self.frames) for length in valid)

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (R, D)."""
        missing = -features.x.shape[1] % self.frames
        x = nn.functional.pad(features.x, (0, 0, 0, missing))
        x = rearrange(x, "u (p f) c -> u p (f c)", f=self.frames)
        if features.lengths is None:
            kept = rearrange(x, "u p c -> (u p) c")
        else:
            real = (features.lengths + self.frames - 1) // self.frames
            kept = x[torch.arange(x.shape[1], device=x.device) < real[:, None]]
        return self.linear_2(self.act(self.linear_1(self.norm(kept))))
