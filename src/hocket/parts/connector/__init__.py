"""Connectors: encoder features become rows of the language model.

A connector's `rows` is pure arithmetic on a plan and must equal what its `forward` returns: the
processor writes that many placeholder tokens before the model runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from hocket._options import read_options
from hocket._registry import Registry
from hocket.parts.features import Features
from hocket.tokens.span import Plan


class Connector(nn.Module, ABC):
    """Turns `Features` into (R, D) rows in span order.

    A subclass declares its options as a nested frozen dataclass ``Config`` and takes
    ``(config, *, in_width, out_width)``.
    """

    Config: ClassVar[type[Any]]
    frame_pool = 1  # video frames that share their rows

    @abstractmethod
    def rows(self, plan: Plan) -> int:
        """Return the rows of a medium with that plan; must equal what `forward` returns."""

    @abstractmethod
    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (R, D)."""


connectors: Registry[type[Connector]] = Registry("hocket.parts.connector", noun="connector")


def build_connector(options: Mapping[str, Any], *, in_width: int, out_width: int) -> Connector:
    """Build a connector from ``{"kind": name, option: value, ...}``.

    Raises:
        UnknownNameError: no connector has that kind.
        ConfigError: an option is unknown, has the wrong type or does not fit the widths.
    """
    cls = connectors.get(str(options.get("kind", "")))
    config = read_options("connector", cls.Config, options)
    return cls(config, in_width=in_width, out_width=out_width)
