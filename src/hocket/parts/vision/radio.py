"""RADIO, NVIDIA's tower taught by several others, read in the ways that VILA 1.5 reads it.

The tower normalises pixels itself, so its layout hands over values from 0 to 1. Registers and the
class tokens, one for each teacher, stand before the patches.

Letters: U pictures, S side of a picture in pixels, P positions, C width of the tower, L layers,
N class tokens of the summary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from hocket._errors import ConfigError
from hocket.parts.encoder import Options, own_options
from hocket.parts.vision import vision_encoders
from hocket.parts.vision.hf import HfVision, check_size, only_patches


class Select(StrEnum):
    """What becomes the features."""

    PATCH = "patch"
    CLS = "cls"
    CLS4 = "cls4"
    DENSE = "dense"


@dataclass(frozen=True, kw_only=True)
class RadioOptions:
    """Options of the kind ``radio``.

    Attributes:
        select: ``patch`` for the patches (C); ``cls`` for the summary's class tokens in one
            position (N * C), ``cls4`` for one position each (C), or ``dense`` for the patches at
            four depths (4 * C): the mean outputs of the layers of the first three quarters and the
            last output.
    """

    select: Select = Select.PATCH


@vision_encoders.register
class RadioVision:
    """Built by ``AutoModel.from_config``; takes float (U, 3, S, S) from 0 to 1."""

    @staticmethod
    def build(config: PreTrainedConfig) -> PreTrainedModel:
        """Return the tower with random weights."""
        return HfVision.build(config)

    @staticmethod
    def width(config: PreTrainedConfig, options: Options) -> int:
        """Return the channels of a position."""
        wide = {Select.CLS: len(config.summary_idxs), Select.DENSE: 4}
        return int(config.hidden_size) * wide.get(_select(options), 1)

    @staticmethod
    def grid(config: PreTrainedConfig, options: Options) -> tuple[int, int]:
        """Return the positions as (height, width)."""
        select = _select(options)
        if select is Select.CLS:
            return 1, 1
        if select is Select.CLS4:
            side = math.isqrt(len(config.summary_idxs))
            return side, side
        return HfVision.grid(config, options)

    @staticmethod
    def inputs(config: PreTrainedConfig, options: Options) -> dict[str, Any]:
        """Return sides of a picture and of what a position shows, and the identity of pixels.

        Raises:
            ConfigError: the option `select` is unknown or does not fit the tower.
        """
        size, (side, _) = config.image_size, RadioVision.grid(config, options)
        summary = len(config.summary_idxs)
        if _select(options) is Select.CLS4 and side**2 != summary:
            raise ConfigError(
                f"vision encoder 'radio': select is 'cls4' on a summary of {summary} class "
                "tokens, expected a square number of them. Choose 'cls'."
            )
        if _select(options) is Select.DENSE and config.num_hidden_layers < 4:
            raise ConfigError(
                f"vision encoder 'radio': select is 'dense' on {config.num_hidden_layers} layers, "
                "expected 4 or more. Choose 'patch'."
            )
        return {"size": size, "patch": size // side, "mean": (0.0,) * 3, "std": (1.0,) * 3}

    @staticmethod
    def encode(
        tower: PreTrainedModel, inputs: Tensor, options: Options, spans: Tensor | None
    ) -> Tensor:
        """Return (U, P, C), (U, P, 4 * C) or (U, 1, N * C) of pictures (U, 3, S, S).

        Raises:
            AlignmentError: the pictures have another size than the tower's.
        """
        config, select, layer = tower.config, _select(options), options["layer"]
        check_size("radio", inputs, config.image_size)
        hidden = select is Select.DENSE or layer != -1
        output = tower(pixel_values=inputs, output_hidden_states=hidden)
        x = output.last_hidden_state if layer == -1 else output.hidden_states[layer]
        if select in (Select.CLS, Select.CLS4):
            summary = x[:, config.summary_idxs]
            return summary if select is Select.CLS4 else rearrange(summary, "u n c -> u 1 (n c)")
        if select is Select.DENSE:
            x = _quarters(output.hidden_states[1:], last=x)
        # The leading positions are the tower's, whatever the summary is.
        return only_patches(x, drop=options["drop"], grid=HfVision.grid(config, options))


def _quarters(layers: tuple[Tensor, ...], *, last: Tensor) -> Tensor:
    """Return (U, P, 4 * C): means of three stretches of the L outputs (U, P, C), and `last`."""
    depth = len(layers)
    ends = (0, depth // 4, depth // 2, depth // 4 * 3)
    means = [torch.stack(layers[start:stop]).mean(dim=0) for start, stop in pairwise(ends)]
    return torch.cat([*means, last], dim=-1)


def _select(options: Options) -> Select:
    """Return what becomes the features.

    Raises:
        ConfigError: an option is unknown.
    """
    return own_options("vision encoder", RadioOptions, options).select
