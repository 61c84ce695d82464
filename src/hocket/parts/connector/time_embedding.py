"""Add the time of each frame, in seconds, to its features before another connector.

Hydra-LLaVA's planned time embedding. ``sinusoidal`` has no parameters: half the channels are
sines, half cosines, with wavelengths from twice `resolution` to twice `longest` seconds in
geometric steps. ``learned`` is a ``table`` with a row every `resolution` seconds up to `longest`;
times between two rows mix them, times beyond the last take it. Features without times, such as
still pictures and sounds, pass unchanged. The parameters of ``inner`` are its own.

Letters: U encoder units, P positions, C encoder width, D language width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn

from hocket._errors import ConfigError
from hocket.parts.connector import Connector, build_connector, connectors
from hocket.parts.features import Features
from hocket.tokens.span import Plan


class Form(StrEnum):
    """How seconds become a vector."""

    SINUSOIDAL = "sinusoidal"
    LEARNED = "learned"


@connectors.register
class TimeEmbedding(Connector):
    """Tell frames apart by their seconds, then project."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            form: how seconds become a vector.
            resolution: the shortest difference that matters, in seconds.
            longest: the longest video that is told apart, in seconds.
            gain: what the sinusoidal vector is multiplied by.
            inner: the connector that projects, as its kind and options.
        """

        form: Form = Form.SINUSOIDAL
        resolution: float = 0.5
        longest: float = 512.0
        gain: float = 1.0
        inner: Mapping[str, Any] = field(default_factory=lambda: {"kind": "linear"})

    def __init__(self, config: Config, *, in_width: int, out_width: int) -> None:
        super().__init__()
        if not 0 < config.resolution < config.longest:
            raise ConfigError(
                f"connector 'time_embedding': resolution is {config.resolution} and longest is "
                f"{config.longest}, expected 0 < resolution < longest, in seconds."
            )
        self.width, self.gain = in_width, config.gain
        self.resolution, self.longest = config.resolution, config.longest
        self.table: nn.Embedding | None = None
        if config.form is Form.LEARNED:
            self.table = nn.Embedding(math.ceil(config.longest / config.resolution) + 1, in_width)
            nn.init.normal_(self.table.weight, std=in_width**-0.5)
        self.inner = build_connector(config.inner, in_width=in_width, out_width=out_width)
        self.frame_pool = self.inner.frame_pool

    def rows(self, plan: Plan) -> int:
        """As many as the inner connector makes."""
        return self.inner.rows(plan)

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (R, D)."""
        if features.times is None:
            return self.inner(features)
        vectors = self._vectors(features.times.to(torch.float32)).to(features.x.dtype)
        return self.inner(features._replace(x=features.x + vectors[:, None]))

    def _vectors(self, times: Tensor) -> Tensor:
        """Turn seconds (U,) into (U, C)."""
        if self.table is None:
            return self.gain * self._waves(times)
        last = self.table.num_embeddings - 1
        place = (times / self.resolution).clamp(0, last)
        before = place.floor().long()
        after = (before + 1).clamp(max=last)
        share = (place - before)[:, None]
        return torch.lerp(self.table(before).float(), self.table(after).float(), share)

    def _waves(self, times: Tensor) -> Tensor:
        """Turn seconds (U,) into sines and cosines (U, C)."""
        sines = -(-self.width // 2)
        steps = torch.linspace(0, 1, sines, device=times.device)
        waves = 2 * self.resolution * (self.longest / self.resolution) ** steps
        angles = 2 * math.pi * times[:, None] / waves
        return torch.cat([angles.sin(), angles.cos()], dim=1)[:, : self.width]
