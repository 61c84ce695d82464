"""Perceiver resampler: learned queries read a picture, a sound or several frames (Flamingo).

(U, P, C) becomes `queries` rows per unit, or per `frames` frames of a video. Each layer lets the
queries attend to the features and to themselves, then passes them through two linear layers; both
steps are residual and normalised before. Frames of padding are not read.

Parameters: ``queries``; ``layers.N`` with ``norm_features``, ``norm_queries``, ``query``,
``key_value``, ``out``, ``norm_mlp``, ``linear_1``, ``linear_2``; ``norm``; ``linear``.

Letters: U encoder units, P positions, C encoder width, D language width, G groups of units,
T positions of a group, Q queries, H heads, E width of a head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from hocket._errors import ConfigError
from hocket.parts.connector import Connector, connectors
from hocket.parts.connector._frames import check_frames, count_groups
from hocket.parts.connector._reading import gather_groups
from hocket.parts.features import Features
from hocket.tokens.span import Plan


class ResamplerLayer(nn.Module):
    """One round of reading.

    Args:
        width: of features and queries.
        heads: attention heads, which divide the width.
        expansion: hidden width of the linear layers, in widths.
    """

    def __init__(self, width: int, *, heads: int, expansion: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_features = nn.LayerNorm(width)
        self.norm_queries = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm_mlp = nn.LayerNorm(width)
        self.linear_1 = nn.Linear(width, expansion * width)
        self.act = nn.GELU()
        self.linear_2 = nn.Linear(expansion * width, width)

    def forward(self, queries: Tensor, features: Tensor, real: Tensor) -> Tensor:
        """Turn queries (G, Q, C), features (G, T, C) and real bool (G, T) into (G, Q, C)."""
        queries = queries + self._attend(queries, features, real)
        return queries + self.linear_2(self.act(self.linear_1(self.norm_mlp(queries))))

    def _attend(self, queries: Tensor, features: Tensor, real: Tensor) -> Tensor:
        own = self.norm_queries(queries)
        read = torch.cat([self.norm_features(features), own], dim=1)
        mask = nn.functional.pad(real, (0, own.shape[1]), value=True)
        q = rearrange(self.query(own), "g q (h e) -> g h q e", h=self.heads)
        k, v = rearrange(self.key_value(read), "g t (n h e) -> n g h t e", n=2, h=self.heads)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
        return self.out(rearrange(mixed, "g h q e -> g q (h e)"))


@connectors.register
class Resampler(Connector):
    """Read any number of positions into a fixed number of rows."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            queries: rows of a unit or of a group of frames.
            depth: rounds of reading.
            heads: attention heads; they divide the encoder's width.
            expansion: hidden width of the linear layers, in encoder widths.
            frames: frames of a video that are read together.
        """

        queries: int = 16
        depth: int = 2
        heads: int = 4
        expansion: int = 4
        frames: int = 1

    def __init__(self, config: Config, *, in_width: int, out_width: int) -> None:
        super().__init__()
        for name, value in (
            ("queries", config.queries),
            ("depth", config.depth),
            ("heads", config.heads),
            ("expansion", config.expansion),
        ):
            if value < 1:
                raise ConfigError(f"connector 'resampler': {name} is {value}, expected 1 or more.")
        if in_width % config.heads:
            raise ConfigError(
                f"connector 'resampler': {config.heads} heads do not divide the encoder's width, "
                f"{in_width}. Choose a number that does."
            )
        self.frame_pool = check_frames("resampler", config.frames)
        self.queries = nn.Parameter(torch.randn(config.queries, in_width) * in_width**-0.5)
        self.layers = nn.ModuleList(
            ResamplerLayer(in_width, heads=config.heads, expansion=config.expansion)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(in_width)
        self.linear = nn.Linear(in_width, out_width)

    def rows(self, plan: Plan) -> int:
        """One set of queries per unit or group of frames."""
        return count_groups(plan, self.frame_pool) * len(self.queries)

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (G * Q, D)."""
        read, real = gather_groups(features, self.frame_pool)
        queries = repeat(self.queries, "q c -> g q c", g=len(read))
        for layer in self.layers:
            queries = layer(queries, read, real)
        return rearrange(self.linear(self.norm(queries)), "g q d -> (g q) d")
