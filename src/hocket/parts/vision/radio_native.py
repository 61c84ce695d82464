"""RADIO on pictures of any size: its position table is resized to each picture's own grid.

For the layout ``image_native``: a unit is a cell of `stride` x `stride` patches. The table, made
for pictures of ``max_img_size``, is resized to a square of the picture's longer side, bilinear, and
cut to the picture's rows and columns, so that a patch has the same size in it whichever way the
picture lies. Frames of a video are pictures of their own. Features are the patches alone.

Letters: U cells, P patches of a cell, K values of a patch, C width, R patches of all pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from hocket._errors import AlignmentError, ConfigError
from hocket.parts.encoder import Options, own_options
from hocket.parts.vision import vision_encoders
from hocket.parts.vision.hf import HfVision

Grid = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class RadioNativeOptions:
    """Options of the kind ``radio_native``.

    Attributes:
        stride: patches along a side of a cell, which the connector joins; 1 keeps each patch.
    """

    stride: int = 2


@vision_encoders.register
class RadioNative:
    """Built by ``AutoModel.from_config``; takes cells of patches (U, P, K) from 0 to 1."""

    @staticmethod
    def build(config: PreTrainedConfig) -> PreTrainedModel:
        """Return the tower with random weights."""
        return HfVision.build(config)

    @staticmethod
    def width(config: PreTrainedConfig, options: Options) -> int:
        """Return the hidden size."""
        return int(config.hidden_size)

    @staticmethod
    def grid(config: PreTrainedConfig, options: Options) -> tuple[int, int]:
        """Return the patches of a cell as (height, width)."""
        stride = own_options("vision encoder", RadioNativeOptions, options).stride
        return stride, stride

    @staticmethod
    def inputs(config: PreTrainedConfig, options: Options) -> dict[str, Any]:
        """Return the sides of a patch and of a cell, and the identity of pixels.

        Raises:
            ConfigError: the tower is no RADIO, or an option is unknown or impossible.
        """
        stride, _ = RadioNative.grid(config, options)
        if config.model_type != "radio" or stride < 1:
            raise ConfigError(
                f"vision encoder 'radio_native': the tower is a {config.model_type!r} and stride "
                f"is {stride}, expected 'radio' and 1 or more."
            )
        plain = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
        return {"patch": config.patch_size, "stride": stride, "temporal_patch": 1} | plain

    @staticmethod
    def encode(
        tower: PreTrainedModel, inputs: Tensor, options: Options, spans: Tensor | None
    ) -> Tensor:
        """Return (U, P, C) of cells (U, P, K) whose grids the spans hold.

        Raises:
            AlignmentError: a picture has more patches along a side than the position table.
        """
        stride, _ = RadioNative.grid(tower.config, options)
        grids = _grids(len(inputs), spans)
        _check_sides(tower.config, grids, stride)
        if inputs.is_meta:
            # The class cuts its output by numbers, which nothing on this device has.
            return inputs.new_empty(*inputs.shape[:2], tower.config.hidden_size)
        pictures = inputs.split([math.prod(grid) for grid in grids])
        flat = [
            rearrange(one, "(y x) (a b) k -> (y a x b) k", y=down, a=stride, b=stride)
            for one, (down, _) in zip(pictures, grids, strict=True)
        ]
        sizes = torch.tensor([(down * stride, across * stride) for down, across in grids])
        layer = options["layer"]
        output = tower(
            pixel_values=torch.cat(flat),
            image_grid_hw=sizes.to(inputs.device),
            output_hidden_states=layer != -1,
        )
        x = output.last_hidden_state if layer == -1 else output.hidden_states[layer]
        patches = _without_tokens(x, sizes, tower.config.num_summary_tokens)
        cells = [
            rearrange(one, "(y a x b) c -> (y x) (a b) c", y=down, a=stride, b=stride)
            for one, (down, _) in zip(patches, grids, strict=True)
        ]
        return torch.cat(cells)


def _grids(units: int, spans: Tensor | None) -> list[Grid]:
    """Return the cells of each picture and frame as (height, width)."""
    if spans is None:
        return [(1, 1)] * units
    found = ([(down, across)] * steps for steps, down, across in spans[:, 2:5].tolist())
    return list(chain.from_iterable(found))


def _check_sides(config: PreTrainedConfig, grids: list[Grid], stride: int) -> None:
    side = config.max_img_size // config.patch_size
    longest = max(chain.from_iterable(grids)) * stride
    if longest > side:
        raise AlignmentError(
            f"'radio_native': a picture has {longest} patches along a side, but the tower knows "
            f"{side} ({config.max_img_size} pixels). Lower the layout's max_pixels."
        )


def _without_tokens(x: Tensor, sizes: Tensor, tokens: int) -> list[Tensor]:
    """Return the patches (R, C) of each picture, without the tokens in front of them."""
    counts = (sizes.prod(dim=1) + tokens).tolist()
    # The class gives (1, R, C) of the last output, of every layer's, and of all pictures in a row.
    return [one[tokens:] for one in x.reshape(-1, x.shape[-1]).split(counts)]
