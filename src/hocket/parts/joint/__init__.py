"""Joint connectors: one module that turns the features of every modality into rows.

Where each tower has its own connector, nothing is shared between seeing and hearing. A joint
connector takes their place: it projects each modality to one width and reads them all with the
same weights. Media stay apart from each other, so that samples which share a packed row cannot
meet in it.

Letters: U encoder units, P positions of a unit, C encoder width, D language width, R rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from hocket._options import read_options
from hocket._registry import Registry
from hocket.parts.features import Features
from hocket.tokens.span import Modality, Plan


class Joint(nn.Module, ABC):
    """Turns `Features` of any modality into (R, D) rows in span order.

    A subclass declares its options as a nested frozen dataclass ``Config`` and takes
    ``(config, *, in_widths, out_width)``.
    """

    Config: ClassVar[type[Any]]
    frame_pool = 1

    @abstractmethod
    def rows(self, plan: Plan) -> int:
        """Return the rows of a medium with that plan; must equal what `forward` returns."""

    @abstractmethod
    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (R, D)."""


joints: Registry[type[Joint]] = Registry("hocket.parts.joint", noun="joint connector")


def build_joint(
    options: Mapping[str, Any], *, in_widths: Mapping[Modality, int], out_width: int
) -> Joint:
    """Build a joint connector from ``{"kind": name, option: value, ...}``.

    Raises:
        UnknownNameError: no joint connector has that kind.
        ConfigError: an option is unknown, has the wrong type or does not fit the widths.
    """
    cls = joints.get(str(options.get("kind", "")))
    config = read_options("joint connector", cls.Config, options)
    return cls(config, in_widths=in_widths, out_width=out_width)
