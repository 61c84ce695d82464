"""No projection: features are rows already (LLaVA's and VITA's ``identity``; no parameters).

Letters: U encoder units, P positions, D width of encoder and language model, R rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hocket._errors import ConfigError
from hocket.parts.connector import Connector, connectors
from hocket.parts.connector._stacking import count_stacks, keep_real
from hocket.parts.features import Features
from hocket.tokens.span import Plan


@connectors.register
class Identity(Connector):
    """Pass every position of every unit through."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """It has no options."""

    def __init__(self, config: Config, *, in_width: int, out_width: int) -> None:
        super().__init__()
        if in_width != out_width:
            raise ConfigError(
                f"connector 'identity': the encoder's width is {in_width}, the language model's "
                f"is {out_width}. They must be equal; otherwise choose 'linear'."
            )

    def rows(self, plan: Plan) -> int:
        """One row per position that is no padding."""
        return count_stacks(plan, 1)

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, D) into (R, D)."""
        return keep_real(features.x, features.lengths, 1)
