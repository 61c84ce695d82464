"""Voxtral's projector: four frames side by side, then two linear layers without bias.

(U, P, C) of a sound gives ceil(length / frames) rows per unit. Parameter names are those of
transformers' ``VoxtralMultiModalProjector``: ``linear_1``, ``linear_2``, with a GELU (erf) between.

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
class Voxtral(Connector):
    """Trade frames for channels, then project."""

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
            raise ConfigError(
                f"connector 'voxtral': frames is {config.frames}, expected 1 or more."
            )
        self.frames = config.frames
        self.linear_1 = nn.Linear(in_width * config.frames, out_width, bias=False)
        self.act = nn.GELU()
        self.linear_2 = nn.Linear(out_width, out_width, bias=False)

    def rows(self, plan: Plan) -> int:
        """One row per stack that holds at least one real frame."""
        return count_stacks(plan, self.frames)

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (R, D)."""
        return self.linear_2(self.act(self.linear_1(stack_frames(features, self.frames))))
