"""The maps of several scales joined on the channels, block by block: VILA 2's dynamic S2.

For the layout ``image_dynamic_s2``. Before the connector the tiles of each scale become one map,
every map is averaged to the size of the `output` scale's, the channels are joined small to large,
and the map is cut into blocks of one tile's size again; behind it the blocks become one picture,
line by line. A unit without scales, such as a frame, repeats its channels.

Letters: U encoder units, V blocks, P positions of a unit, C encoder width, K rows of a block, N
scales, D language width, R rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional

from hocket._errors import ConfigError
from hocket.parts.arrange import Arrange, arrangements
from hocket.parts.features import Features
from hocket.tokens.span import Plan


@arrangements.register
class DynamicS2(Arrange):
    """Join scales before the connector and blocks behind it."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            scales: sides of the scales, ascending, as in the layout; only their ratios to the
                first count.
            output: index of the scale whose map the features keep, as in the layout.
        """

        scales: tuple[int, ...] = (1, 2, 3)
        output: int = -1

    def __init__(self, config: Config, *, width: int) -> None:
        super().__init__()
        scales = config.scales
        if len(scales) < 2 or scales[0] < 1 or any(scale < scales[0] for scale in scales):
            raise ConfigError(
                f"arrangement 'dynamic_s2': scales is {list(scales)}, expected two or more "
                "ascending sides above 0."
            )
        if not -len(scales) <= config.output < len(scales):
            raise ConfigError(
                f"arrangement 'dynamic_s2': output is {config.output}, expected an index into "
                f"{len(scales)} scales."
            )
        self.small = [(scale // scales[0],) * 2 for scale in scales[:-1]]
        self.output = config.output

    def in_width(self, width: int) -> int:
        """Every scale has its own channels."""
        return width * (len(self.small) + 1)

    def rows(self, plan: Plan, *, per_unit: int) -> int:
        """The rows of all blocks."""
        if not self._tiled(plan.units, plan.grid[0], plan.tiles):
            return plan.units * per_unit
        return math.prod(self._grids(plan.tiles)[self.output]) * per_unit

    def gather(self, features: Features) -> Features:
        """Turn (U, P, C) into the blocks (V, P, N * C); the spans count blocks from here on."""
        times = len(self.small) + 1
        if features.spans is None:
            return features._replace(x=repeat(features.x, "u p c -> u p (n c)", n=times))
        made = [features.x.new_empty(0, features.x.shape[1], times * features.x.shape[2])]
        spans: list[list[int]] = []
        start = 0
        for units, rows, steps, height, width, *tiles in features.spans.tolist():
            one = features.x[start : start + units]
            start += units
            if self._tiled(units, steps, (tiles[0], tiles[1])):
                grids = self._grids((tiles[0], tiles[1]))
                tiles = list(grids[self.output])
                made.append(self._join(one, features.grid, grids))
            else:
                made.append(repeat(one, "u p c -> u p (n c)", n=times))
            spans.append([len(made[-1]), rows, steps, height, width, *tiles])
        counted = torch.tensor(spans, dtype=torch.int64, device=features.spans.device)
        return features._replace(x=torch.cat(made), spans=counted.reshape(-1, 7))

    def forward(self, rows: Tensor, features: Features) -> Tensor:
        """Turn (V, K, D) into (V * K, D)."""
        if features.spans is None:
            return rearrange(rows, "u k d -> (u k) d")
        side = math.isqrt(rows.shape[1])
        made = [rows.new_empty(0, rows.shape[2])]
        start = 0
        for blocks, _, steps, _, _, down, across in features.spans.tolist():
            one = rows[start : start + blocks]
            start += blocks
            if steps == 1 and blocks == down * across:
                lines = "(r c) (h w) d -> (r h c w) d"
                made.append(rearrange(one, lines, r=down, c=across, h=side, w=side))
            else:
                made.append(rearrange(one, "u k d -> (u k) d"))
        return torch.cat(made)

    def _grids(self, tiles: tuple[int, int]) -> list[tuple[int, int]]:
        """Return the (rows, columns) of tiles of each scale, where the last one has `tiles`."""
        return [*((down, across) for down, across in self.small), tiles]

    def _tiled(self, units: int, steps: int, tiles: tuple[int, int]) -> bool:
        """Say whether units are the tiles of all scales, and not frames."""
        return steps == 1 and units == sum(math.prod(grid) for grid in self._grids(tiles))

    def _join(self, x: Tensor, unit: tuple[int, int], grids: list[tuple[int, int]]) -> Tensor:
        """Turn the tiles (U, P, C) of all scales of one picture into blocks (V, P, N * C)."""
        maps = [
            rearrange(part, "(r c) (h w) d -> 1 d (r h) (c w)", r=down, h=unit[0], w=unit[1])
            for part, (down, _) in zip(
                x.split([math.prod(grid) for grid in grids]), grids, strict=True
            )
        ]
        size = maps[self.output].shape[-2:]
        # Averaged in float32: bfloat16 has too few digits for sums of many positions.
        joined = torch.cat(
            [functional.interpolate(one.float(), size=size, mode="area").to(x) for one in maps],
            dim=1,
        )
        return rearrange(joined, "1 d (r h) (c w) -> (r c) (h w) d", h=unit[0], w=unit[1])
