"""What every encoder kind can do, whichever transformers class it wraps.

An encoder is a transformers model; a kind only says how to build it and how to read its features.
Letters: U units, P positions of one unit, C width.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel


class EncoderKind(Protocol):
    """Builds a tower and reads its features."""

    __module__: str

    @staticmethod
    def build(config: PreTrainedConfig) -> PreTrainedModel:
        """Return the tower with random weights."""
        ...

    @staticmethod
    def width(config: PreTrainedConfig) -> int:
        """Return C."""
        ...

    @staticmethod
    def grid(config: PreTrainedConfig) -> tuple[int, int]:
        """Return the P positions of a unit as (height, width), without class tokens."""
        ...

    @staticmethod
    def encode(tower: PreTrainedModel, inputs: Tensor, *, layer: int, drop: int) -> Tensor:
        """Return (U, P, C) of the hidden state `layer`, without its first `drop` positions."""
        ...
