"""Linear layers with GELU (erf) between them; one row per position that is no padding.

LLaVA's ``mlpNx_gelu`` has depth N, and depth 1 is its ``linear``. ``linear_k`` is
``mm_projector.{2k - 2}`` in LLaVA's checkpoints; depth 2 has transformers' parameter names, so that
such a composition loads strictly into ``LlavaForConditionalGeneration``.

Letters: U encoder units, P positions, C encoder width, D language width, R rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from hocket._errors import ConfigError
from hocket.parts.connector import Connector, connectors
from hocket.parts.connector._stacking import count_stacks, keep_real
from hocket.parts.features import Features
from hocket.tokens.span import Plan


@connectors.register
class Mlp(Connector):
    """Project every position of every unit through `depth` layers."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            depth: linear layers.
            bias: whether the layers have biases.
        """

        depth: int = 2
        bias: bool = True

    def __init__(self, config: Config, *, in_width: int, out_width: int) -> None:
        super().__init__()
        if config.depth < 1:
            raise ConfigError(f"connector 'mlp': depth is {config.depth}, expected 1 or more.")
        self.depth = config.depth
        for number in range(1, config.depth + 1):
            width = in_width if number == 1 else out_width
            self.add_module(f"linear_{number}", nn.Linear(width, out_width, bias=config.bias))
        self.act = nn.GELU()

    def rows(self, plan: Plan) -> int:
        """One row per position that is no padding."""
        return count_stacks(plan, 1)

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (R, D)."""
        x = self.get_submodule("linear_1")(keep_real(features.x, features.lengths, 1))
        for number in range(2, self.depth + 1):
            x = self.get_submodule(f"linear_{number}")(self.act(x))
        return x
