"""Ultravox's projector: stacked frames, RMSNorm, a gated linear layer, a second linear layer.

(U, P, C) of a sound gives ceil(length / frames) rows per unit: stack, RMSNorm, Linear to `hidden`,
SwiGLU (the second half gates the first), Linear to D, both without bias. A second RMSNorm stands
before the last layer (``projector_ln_mid``, Ultravox 0.5 and later) or behind it (until 0.4.1).
Parameter names are Ultravox's: ``ln_pre``, ``linear_1``, ``ln_mid`` or ``ln_post``, ``linear_2``.

Letters: U encoder units, P frames of a unit, C encoder width, D language width, R rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor, nn

from hocket._errors import ConfigError
from hocket.parts.connector import Connector, connectors
from hocket.parts.connector._stacking import count_stacks, stack_frames
from hocket.parts.features import Features
from hocket.tokens.span import Plan

_EPS = 1e-6


class Norm(StrEnum):
    """Where the second norm stands."""

    MIDDLE = "middle"
    LAST = "last"


@connectors.register
class Ultravox(Connector):
    """Trade frames for channels, then project through a gate."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            frames: neighbouring encoder frames that become one row.
            hidden: width of the first layer, before the gate halves it; 0 for twice the language
                model's. Ultravox has 4096.
            norm: where the second norm stands, before the last layer or behind it.
        """

        frames: int = 8
        hidden: int = 0
        norm: Norm = Norm.MIDDLE

    def __init__(self, config: Config, *, in_width: int, out_width: int) -> None:
        super().__init__()
        if config.frames < 1:
            raise ConfigError(
                f"connector 'ultravox': frames is {config.frames}, expected 1 or more."
            )
        if config.hidden < 0 or config.hidden % 2:
            raise ConfigError(
                f"connector 'ultravox': hidden is {config.hidden}, expected an even number: the "
                "gate halves it."
            )
        self.frames = config.frames
        hidden = config.hidden or 2 * out_width
        self.ln_pre = nn.RMSNorm(in_width * config.frames, eps=_EPS)
        self.linear_1 = nn.Linear(in_width * config.frames, hidden, bias=False)
        self.act = nn.SiLU()
        self.ln_mid: nn.Module = nn.Identity()
        self.ln_post: nn.Module = nn.Identity()
        if config.norm is Norm.MIDDLE:
            self.ln_mid = nn.RMSNorm(hidden // 2, eps=_EPS)
        else:
            self.ln_post = nn.RMSNorm(out_width, eps=_EPS)
        self.linear_2 = nn.Linear(hidden // 2, out_width, bias=False)

    def rows(self, plan: Plan) -> int:
        """One row per stack that holds at least one real frame."""
        return count_stacks(plan, self.frames)

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (R, D)."""
        x = self.linear_1(self.ln_pre(stack_frames(features, self.frames)))
        value, gate = x.chunk(2, dim=-1)
        return self.ln_post(self.linear_2(self.ln_mid(self.act(gate) * value)))
