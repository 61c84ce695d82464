"""Average neighbouring frames of a video, and squares of positions, around another connector.

Features (U, P, C) of a video become one set of rows for every `frames` frames; a last, shorter run
is the mean of the frames it has. Pictures keep a set of rows each. `height` and `width` average
positions of every unit, pictures included. ``order: pool_first`` is Hydra-LLaVA's pooling over time
before the projector; ``order: project_first`` is VILA 2's TSP encoder, which pools (time, height,
width) of projected rows. It has no parameters but those of ``inner``.

Letters: U encoder units, P positions, C encoder width, D language width, G groups of frames,
K rows of a unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from einops import rearrange, reduce
from torch import Tensor

from hocket._errors import ConfigError
from hocket.parts.connector import Connector, build_connector, connectors
from hocket.parts.connector._frames import (
    check_frames,
    count_groups,
    group_frames,
    mean_of,
    regroup_spans,
)
from hocket.parts.features import Features
from hocket.tokens.span import Plan


class Order(StrEnum):
    """Whether to pool features or rows."""

    POOL_FIRST = "pool_first"
    PROJECT_FIRST = "project_first"


@connectors.register
class TemporalPool(Connector):
    """Average over time and space, and project."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            frames: frames of a video whose mean becomes one set of rows.
            height: neighbouring positions averaged down the grid.
            width: neighbouring positions averaged across the grid.
            order: whether to pool features before the projection or rows behind it.
            inner: the connector that projects, as its kind and options.
        """

        frames: int = 4
        height: int = 1
        width: int = 1
        order: Order = Order.POOL_FIRST
        inner: Mapping[str, Any] = field(default_factory=lambda: {"kind": "linear"})

    def __init__(self, config: Config, *, in_width: int, out_width: int) -> None:
        super().__init__()
        self.frame_pool = check_frames("temporal_pool", config.frames)
        self.square = (config.height, config.width)
        if min(self.square) < 1:
            raise ConfigError(
                f"connector 'temporal_pool': height is {config.height} and width is "
                f"{config.width}, expected 1 or more."
            )
        self.order = config.order
        self.inner = build_connector(config.inner, in_width=in_width, out_width=out_width)
        if self.inner.frame_pool != 1:
            raise ConfigError(
                "connector 'temporal_pool': its inner connector joins frames too. Give `frames` to "
                "one of them only."
            )

    def rows(self, plan: Plan) -> int:
        """One set of rows per picture, per chunk of sound and per group of frames.

        Raises:
            ConfigError: the grid cannot be cut into such squares.
        """
        if plan.valid is not None and self.square != (1, 1):
            raise ConfigError(
                "connector 'temporal_pool': a sound has no squares. Set height and width to 1."
            )
        groups = count_groups(plan, self.frame_pool)
        if self.order is Order.POOL_FIRST:
            pooled = self._pooled(plan.patches)
            return self.inner.rows(replace(plan, units=groups, patches=pooled, pieces=None))
        made = self.inner.rows(replace(plan, units=groups, pieces=None))
        if self.square == (1, 1):
            return made
        one = self.inner.rows(replace(plan, units=1, pieces=None))
        self._pooled(_square_grid(one))
        return made // math.prod(self.square)

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (R, D)."""
        if features.lengths is not None:
            return self.inner(features)
        groups = group_frames(features, self.frame_pool)
        if self.order is Order.POOL_FIRST:
            x = self._average(mean_of(features.x, groups), features.grid)
            times = None if features.times is None else mean_of(features.times, groups)
            return self.inner(
                features._replace(
                    x=x,
                    grid=self._pooled(features.grid),
                    spans=regroup_spans(features.spans, self.frame_pool),
                    times=times,
                )
            )
        if not len(features.x):
            return self.inner(features)
        rows = rearrange(self.inner(features), "(u k) d -> u k d", u=len(features.x))
        rows = mean_of(rows, groups)
        if self.square != (1, 1):
            rows = self._average(rows, _square_grid(rows.shape[1]))
        return rearrange(rows, "g k d -> (g k) d")

    def _average(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Turn (G, P, C) into (G, P / (height * width), C)."""
        a, b = self.square
        return reduce(x, "g (h a w b) c -> g (h w) c", "mean", h=grid[0] // a, a=a, b=b)

    def _pooled(self, grid: tuple[int, int]) -> tuple[int, int]:
        (height, width), (a, b) = grid, self.square
        if height % a or width % b:
            raise ConfigError(
                f"connector 'temporal_pool': a grid of {height} x {width} cannot be cut into "
                f"{a} x {b}. Choose numbers that divide it."
            )
        return height // a, width // b


def _square_grid(rows: int) -> tuple[int, int]:
    """The grid of the rows of one unit, which VILA takes to be square.

    Raises:
        ConfigError: the rows form no square.
    """
    side = math.isqrt(rows)
    if side * side != rows:
        raise ConfigError(
            f"connector 'temporal_pool': {rows} rows per unit form no square to pool. Set height "
            "and width to 1, or order to 'pool_first'."
        )
    return side, side
