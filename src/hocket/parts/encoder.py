"""What every encoder kind can do, whichever transformers class it wraps.

An encoder is a transformers model; a kind only says how to build it, what it takes and how to read
its features. `options` is the checkpoint's ``vision_encoder`` or ``audio_encoder``: ``kind``,
``layer`` (the hidden state used; -1 is the tower's own last output), ``drop`` (leading positions
that show no patch), ``scale`` (which the model applies) and the kind's own options.

Letters: U units, P positions of one unit, C width, S spans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from hocket._options import read_options

# Configurations know the encoders by name, so this opens while transformers is half imported.
if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel

Options = Mapping[str, Any]
_COMMON = ("layer", "drop", "scale")
_Own = TypeVar("_Own")


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """Options of a kind that has none of its own."""


def own_options(noun: str, cls: type[_Own], options: Options) -> _Own:
    """Return the options that a kind has beside those of every encoder.

    Args:
        noun: what the kind is, such as ``vision encoder``.
        cls: the kind's dataclass of options.
        options: all options.

    Raises:
        ConfigError: one is unknown or has the wrong type.
    """
    return read_options(noun, cls, {key: options[key] for key in options if key not in _COMMON})


class EncoderKind(Protocol):
    """Builds a tower and reads its features."""

    __module__: str

    @staticmethod
    def build(config: PreTrainedConfig) -> PreTrainedModel:
        """Return the tower with random weights."""
        ...

    @staticmethod
    def width(config: PreTrainedConfig, options: Options) -> int:
        """Return C."""
        ...

    @staticmethod
    def grid(config: PreTrainedConfig, options: Options) -> tuple[int, int]:
        """Return the P positions of a unit as (height, width), without class tokens."""
        ...

    @staticmethod
    def inputs(config: PreTrainedConfig, options: Options) -> dict[str, Any]:
        """Return the layout options that the tower decides, such as ``size`` and ``patch``.

        Raises:
            ConfigError: the configuration is not that of such an encoder.
        """
        ...

    @staticmethod
    def encode(
        tower: PreTrainedModel, inputs: Tensor, options: Options, spans: Tensor | None
    ) -> Tensor:
        """Return (U, P, C) of encoder inputs (U, ...) whose spans are int64 (S, 7) or unknown."""
        ...


Kind = TypeVar("Kind", bound=EncoderKind)
"""A kind of encoder that may know more, as those of sound do."""
