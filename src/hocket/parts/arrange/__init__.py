"""Arrangements: how the rows of several tiles become the rows of one picture.

An arrangement works around the connector: `gather` may regroup features before it, `forward`
orders what it made, drops padding and adds learned rows. Without one, tiles follow each other.

Letters: U encoder units, P positions of a unit, K rows of a unit, C encoder width, D language
width, R rows.
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


class Arrange(nn.Module, ABC):
    """Orders the rows of a picture.

    A subclass declares its options as a nested frozen dataclass ``Config`` and takes
    ``(config, *, width)``.
    """

    Config: ClassVar[type[Any]]

    def in_width(self, width: int) -> int:
        """Return the width of the features that `gather` returns for an encoder of that width."""
        return width

    @abstractmethod
    def rows(self, plan: Plan, *, per_unit: int) -> int:
        """Return the rows of a medium with that plan; must equal what `forward` returns."""

    def gather(self, features: Features) -> Features:
        """Return the features that the connector gets."""
        return features

    @abstractmethod
    def forward(self, rows: Tensor, features: Features) -> Tensor:
        """Turn the connector's (U, K, D) into (R, D); `features` are those `gather` returned."""


arrangements: Registry[type[Arrange]] = Registry("hocket.parts.arrange", noun="arrangement")


def build_arrange(options: Mapping[str, Any], *, width: int) -> Arrange:
    """Build an arrangement from ``{"kind": name, option: value, ...}``.

    Raises:
        UnknownNameError: no arrangement has that kind.
        ConfigError: an option is unknown or has the wrong type.
    """
    cls = arrangements.get(str(options.get("kind", "")))
    return cls(read_options("arrangement", cls.Config, options), width=width)
