"""Qwen2-Audio's projector: the mean of every two frames, then one linear layer.

(U, P, C) of a sound gives floor(length / pool) rows per unit: as in Qwen2-Audio, frames that fill
no row are dropped. Qwen2-Audio's own encoder pools before its final
LayerNorm: behind a tower of that class set `pool` to 1; behind an encoder read before its final
norm set `norm`, which then holds that norm's weights. ``linear`` has the name that transformers'
``Qwen2AudioMultiModalProjector`` gives it.

Letters: U encoder units, P frames of a unit, C encoder width, D language width, R rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from einops import rearrange
from torch import Tensor, nn

from hocket._errors import ConfigError
from hocket.parts.connector import Connector, connectors
from hocket.parts.connector._stacking import keep_real
from hocket.parts.features import Features
from hocket.tokens.span import Plan


@connectors.register
class Qwen2Audio(Connector):
    """Average neighbouring frames, then project."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            pool: neighbouring encoder frames whose mean becomes one row.
            norm: whether a LayerNorm stands between the mean and the linear layer.
        """

        pool: int = 2
        norm: bool = False

    def __init__(self, config: Config, *, in_width: int, out_width: int) -> None:
        super().__init__()
        if config.pool < 1:
            raise ConfigError(
                f"connector 'qwen2_audio': pool is {config.pool}, expected 1 or more."
            )
        self.pool = config.pool
        self.layer_norm = nn.LayerNorm(in_width) if config.norm else nn.Identity()
        self.linear = nn.Linear(in_width, out_width)

    def rows(self, plan: Plan) -> int:
        """One row for every `pool` real frames of a unit."""
        valid = plan.valid or (plan.patches[0] * plan.patches[1],) * plan.units
        return sum(frames // self.pool for frames in valid)

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (R, D)."""
        whole = features.x.shape[1] // self.pool
        pairs = rearrange(features.x[:, : whole * self.pool], "u (k p) c -> u k p c", p=self.pool)
        lengths = features.lengths
        if lengths is not None:
            lengths = lengths // self.pool * self.pool
        kept = keep_real(pairs.mean(dim=2), lengths, self.pool)
        return self.linear(self.layer_norm(kept))
