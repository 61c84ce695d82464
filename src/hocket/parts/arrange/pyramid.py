"""A video averaged in several ways, one behind the other: VILA 2's TSP encoder.

For layouts with the same `pools`. Behind the connector the rows of a video are averaged over
(time, height, width) once for each pool; ``[8x1x1, 32x2x2]`` is a fine look of the means of eight
frames and a coarse one of the means of 32. The last run of frames may be shorter, where the
original fails. Pictures keep their rows.

Letters: U encoder units, K rows of a unit, D language width, R rows, N frames of a video.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import rearrange, reduce
from torch import Tensor

from hocket.parts.arrange import Arrange, arrangements
from hocket.parts.features import Features
from hocket.tokens.layout._film import Pool, pooled_rows, read_pools
from hocket.tokens.span import Modality, Plan


@arrangements.register
class Pyramid(Arrange):
    """Average the rows of a video by several sizes."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            pools: frames x height x width that are averaged, such as ``8x1x1``, as in the layout;
                empty averages nothing.
        """

        pools: tuple[str, ...] = ()

    def __init__(self, config: Config, *, width: int) -> None:
        super().__init__()
        self.pools = read_pools("arrangement 'pyramid'", config.pools)

    def rows(self, plan: Plan, *, per_unit: int) -> int:
        """The rows of every pool, or all rows of a picture.

        Raises:
            ConfigError: the rows of a frame cannot be averaged so.
        """
        if not plan.frames or not self.pools:
            return plan.units * per_unit
        return sum(pooled_rows(per_unit, plan.frames, self.pools))

    def forward(self, rows: Tensor, features: Features) -> Tensor:
        """Turn (U, K, D) into (R, D)."""
        if features.modality is not Modality.VIDEO or not self.pools:
            return rearrange(rows, "u k d -> (u k) d")
        counts = [1] * len(rows) if features.spans is None else features.spans[:, 0].tolist()
        made = [rows.new_empty(0, rows.shape[2])]
        made += [_averaged(film, pool) for film in rows.split(counts) for pool in self.pools]
        return torch.cat(made)


def _averaged(film: Tensor, pool: Pool) -> Tensor:
    """Turn the frames (N, K, D) of a video into rows (R, D)."""
    steps, down, across = pool
    means = [frames.mean(dim=0) for frames in film.split(steps)]
    high = math.isqrt(film.shape[1]) // down
    return reduce(
        torch.stack(means), "t (h a w b) d -> (t h w) d", "mean", h=high, a=down, b=across
    )
