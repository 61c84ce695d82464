"""Latent queries shared by pictures, videos and sounds, read by self-attention alone.

Each unit (tile, frame or chunk of sound) is projected to one width, marked with its modality and
put behind a set of learned queries; transformer layers, the same for all modalities, let queries
and positions see each other, and the queries become the rows. There is no cross-attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from hocket._errors import ConfigError
from hocket.parts.features import Features
from hocket.parts.joint import Joint, joints
from hocket.tokens.span import Modality, Plan


@joints.register
class LatentQueries(Joint):
    """So many rows per unit, whatever it shows."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            queries: rows of a unit.
            width: width of the shared layers; 0 takes the language model's.
            depth: shared layers.
            heads: attention heads.
            expansion: width of a feed-forward layer over `width`.
        """

        queries: int = 16
        width: int = 0
        depth: int = 2
        heads: int = 4
        expansion: int = 4

    def __init__(
        self, config: Config, *, in_widths: Mapping[Modality, int], out_width: int
    ) -> None:
        super().__init__()
        width = config.width or out_width
        if min(config.queries, config.depth, config.heads, config.expansion) < 1:
            raise ConfigError(f"joint connector 'latent_queries': {config}, expected 1 or more.")
        if width % config.heads:
            raise ConfigError(
                f"joint connector 'latent_queries': width {width} cannot be shared by "
                f"{config.heads} heads. Set heads or width so that it divides."
            )
        self.queries = nn.Parameter(torch.randn(config.queries, width) / width**0.5)
        self.project = nn.ModuleDict(
            {kind.value: nn.Linear(size, width) for kind, size in in_widths.items()}
        )
        self.marks = nn.ParameterDict(
            {kind.value: nn.Parameter(torch.zeros(width)) for kind in in_widths}
        )
        layer = nn.TransformerEncoderLayer(
            width,
            config.heads,
            config.expansion * width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, config.depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, out_width)

    def rows(self, plan: Plan) -> int:
        """Return `queries` rows per unit."""
        return plan.units * len(self.queries)

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (U * queries, D); padding of sounds is not read."""
        units, positions, _ = features.x.shape
        kind = features.modality.value
        x = self.project[kind](features.x) + self.marks[kind]
        queries = repeat(self.queries, "q d -> u q d", u=units)
        hidden = None
        if features.lengths is not None:
            places = torch.arange(positions, device=x.device)
            padding = places >= features.lengths[:, None].to(x.device)
            hidden = nn.functional.pad(padding, (len(self.queries), 0), value=False)
        read = self.layers(torch.cat([queries, x], dim=1), src_key_padding_mask=hidden)
        rows = self.out(self.norm(read[:, : len(self.queries)]))
        return rearrange(rows, "u q d -> (u q) d")
