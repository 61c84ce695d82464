"""Qwen2-Audio's projector: the mean of every two frames, then one linear layer.

(U, P, C) of a sound gives ceil(length / pool) rows per unit; the last row of an odd length is the
frame that is left, where Qwen2-Audio drops it. Qwen2-Audio's own encoder pools before its final
LayerNorm: behind a tower of that class set `pool` to 1; behind an encoder read before its final
norm set `norm`, which then holds that norm's weights. ``linear`` has the name that transformers'
``Qwen2AudioMultiModalProjector`` gives it.

Letters: U encoder units, P frames of a unit, C encoder width, D language width, R rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from hocket._errors import ConfigError
from hocket.parts.connector import Connector, connectors
from hocket.parts.connector._stacking import count_stacks, keep_real
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
        """One row per mean over at least one real frame."""
        return count_stacks(plan, self.pool)

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (R, D)."""
        kept = keep_real(self._means(features), features.lengths, self.pool)
        return self.linear(self.layer_norm(kept))

    def _means(self, features: Features) -> Tensor:
        """Return (U, ceil(P / pool), C), each the mean of its real frames."""
        x = features.x
        positions = torch.arange(x.shape[1], device=x.device)
        real = positions < torch.full((len(x), 1), x.shape[1], device=x.device)
        if features.lengths is not None:
            real = positions < features.lengths[:, None]
        missing = -x.shape[1] % self.pool
        x = nn.functional.pad(x * real[..., None], (0, 0, 0, missing))
        counts = nn.functional.pad(real, (0, missing)).to(x.dtype)
        total = rearrange(x, "u (k p) c -> u k p c", p=self.pool).sum(dim=2)
        count = rearrange(counts, "u (k p) -> u k p", p=self.pool).sum(dim=2)
        return total / count.clamp(min=1)[..., None]
