"""One tower at several scales, joined on the channels: S2, as LLaVA, VILA and VITA wrap theirs.

A picture of the largest scale is resized to every scale, cut into squares that the tower takes,
encoded, put together again, averaged to the map of the `output` scale and joined on the channels,
small to large. The positions are those of one scale; the width grows with the number of scales.

Letters: U pictures, B squares, P positions, C width of the tower, N scales, S side of a picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedConfig, PreTrainedModel

from hocket._errors import ConfigError
from hocket.parts.encoder import Options, own_options
from hocket.parts.vision import vision_encoders
from hocket.parts.vision.hf import HfVision, square_inputs


@dataclass(frozen=True, kw_only=True)
class S2Options:
    """Options of the kind ``s2``.

    Attributes:
        scales: sides of the scales in pixels, ascending; none stands for one, two and three times
            the tower's picture.
        max_split: longest side of a square that the tower gets; 0 is the smallest scale.
        output: index of the scale whose positions the features keep.
    """

    scales: tuple[int, ...] = ()
    max_split: int = 0
    output: int = 0


@vision_encoders.register
class S2Vision:
    """Wraps any tower that ``hf`` reads; takes float (U, 3, S, S) of the largest scale."""

    @staticmethod
    def build(config: PreTrainedConfig) -> PreTrainedModel:
        """Return the tower with random weights."""
        return HfVision.build(config)

    @staticmethod
    def width(config: PreTrainedConfig, options: Options) -> int:
        """Return the hidden size times the number of scales."""
        return HfVision.width(config, options) * len(_read(config, options).scales)

    @staticmethod
    def grid(config: PreTrainedConfig, options: Options) -> tuple[int, int]:
        """Return the positions of the `output` scale as (height, width)."""
        own = _read(config, options)
        side, _ = HfVision.grid(config, options)
        pieces = _pieces(own.scales[own.output], own.max_split)
        return side * pieces, side * pieces

    @staticmethod
    def inputs(config: PreTrainedConfig, options: Options) -> dict[str, Any]:
        """Return the side of the largest scale and of the pixels that one position stands for.

        Raises:
            ConfigError: the tower takes no square pictures, or not the squares of a scale.
        """
        size = int(square_inputs(config)["size"])
        own = _read(config, options)
        for scale in own.scales:
            pieces = _pieces(scale, own.max_split)
            if pieces * size != scale:
                raise ConfigError(
                    f"vision encoder 's2': scale {scale} gives squares of {scale / pieces:g} "
                    f"pixels, but {config.model_type!r} takes {size}. Choose multiples of {size}."
                )
        largest, (side, _) = max(own.scales), S2Vision.grid(config, options)
        given = {"size": largest, "patch": largest // side}
        # A tower may leave a margin that is no whole patch, which grows with the scale.
        return given if largest // given["patch"] == side else given | {"side": side}

    @staticmethod
    def encode(
        tower: PreTrainedModel, inputs: Tensor, options: Options, spans: Tensor | None
    ) -> Tensor:
        """Return (U, P, N * C) of pictures (U, 3, S, S)."""
        own = _read(tower.config, options)

        def read(squares: Tensor) -> Tensor:
            return HfVision.encode(tower, squares, options, None)

        return multi_scale(
            read, inputs, scales=own.scales, max_split=own.max_split, output=own.output
        )


def multi_scale(
    read: Callable[[Tensor], Tensor],
    pictures: Tensor,
    *,
    scales: Sequence[int],
    max_split: int,
    output: int = 0,
) -> Tensor:
    """Return the features (U, P, N * C) of pictures (U, 3, S, S) at several scales.

    Args:
        read: turns squares (B, 3, side, side) into (B, P, C) of a square grid.
        pictures: the pictures; their own size does not matter.
        scales: sides in pixels.
        max_split: longest side of a square that `read` gets.
        output: index of the scale whose positions are kept.
    """
    maps = []
    for scale in scales:
        pieces = _pieces(scale, max_split)
        # Interpolated in float32: half precision would move the pixels.
        resized = functional.interpolate(pictures.float(), size=(scale, scale), mode="bicubic")
        squares = rearrange(
            resized.to(pictures), "u d (r h) (c w) -> (u r c) d h w", r=pieces, c=pieces
        )
        features = read(squares)
        maps.append(
            rearrange(
                features,
                "(u r c) (h w) d -> u d (r h) (c w)",
                r=pieces,
                c=pieces,
                h=math.isqrt(features.shape[1]),
            )
        )
    size = maps[output].shape[-2:]
    kept = [functional.interpolate(one.float(), size=size, mode="area").to(one) for one in maps]
    return rearrange(torch.cat(kept, dim=1), "u d h w -> u (h w) d")


def _pieces(scale: int, max_split: int) -> int:
    """Return how many squares lie along a side of a scale."""
    return -(-scale // max_split)


def _read(config: PreTrainedConfig, options: Options) -> S2Options:
    """Return the kind's own options with every default filled in.

    Raises:
        ConfigError: an option is unknown, has the wrong type or is impossible.
    """
    given = own_options("vision encoder", S2Options, options)
    size = int(square_inputs(config)["size"])
    scales = given.scales or (size, 2 * size, 3 * size)
    if min(scales) < 1 or given.max_split < 0 or not -len(scales) <= given.output < len(scales):
        raise ConfigError(
            f"vision encoder 's2': scales {list(scales)}, max_split {given.max_split}, output "
            f"{given.output}; expected sides above 0, 0 or more, and an index into the scales."
        )
    return S2Options(scales=scales, max_split=given.max_split or min(scales), output=given.output)
