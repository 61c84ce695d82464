"""Any vision model of transformers with square pictures and square patches.

CLIP, SigLIP, InternViT, DINOv2, DINOv3, ViT, DeiT, BEiT, AIMv2 and others need nothing but this:
their class tokens and registers stand before the patches, whatever their number. Sizes may be one
number or (height, width) with two equal ones, as InternViT's are.

With the option ``leading`` the positions are one line, for connectors that need no grid: so many
such tokens stay in front of the patches (LLaVA's ``cls_patch``, with ``drop`` 0), or so many
patches are missing there (VILA's ``patch`` on SigLIP, which has no class token: -1, with ``drop``
1).

Letters: U pictures, S side of a picture in pixels, P positions, C width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from hocket._errors import AlignmentError, ConfigError
from hocket.parts.encoder import Options, own_options
from hocket.parts.vision import vision_encoders

_NEEDED = ("image_size", "patch_size", "hidden_size")


@dataclass(frozen=True, kw_only=True)
class HfVisionOptions:
    """Options of the kind ``hf``.

    Attributes:
        leading: tokens that stay in front of the patches, or, below 0, patches that are dropped
            there; 0 keeps the patches as a grid.
    """

    leading: int = 0


@vision_encoders.register
class HfVision:
    """Built by ``AutoModel.from_config``; takes float (U, 3, S, S)."""

    @staticmethod
    def build(config: PreTrainedConfig) -> PreTrainedModel:
        """Return the tower with random weights."""
        return AutoModel.from_config(config)

    @staticmethod
    def width(config: PreTrainedConfig, options: Options) -> int:
        """Return the hidden size."""
        return int(config.hidden_size)

    @staticmethod
    def grid(config: PreTrainedConfig, options: Options) -> tuple[int, int]:
        """Return the positions of a picture as (height, width)."""
        side = square(config.image_size) // square(config.patch_size)
        leading = int(options.get("leading", 0))
        return (1, leading + side * side) if leading else (side, side)

    @staticmethod
    def inputs(config: PreTrainedConfig, options: Options) -> dict[str, Any]:
        """Return the side of a picture and of a patch in pixels.

        Raises:
            ConfigError: the configuration knows neither, or an option is unknown.
        """
        own_options("vision encoder", HfVisionOptions, options)
        return square_inputs(config)

    @staticmethod
    def encode(
        tower: PreTrainedModel, inputs: Tensor, options: Options, spans: Tensor | None
    ) -> Tensor:
        """Return (U, P, C) of pictures (U, 3, S, S).

        Raises:
            AlignmentError: the pictures have another size than the tower's.
        """
        check_size(tower.config.model_type, inputs, square(tower.config.image_size))
        x = hidden_state(tower, inputs, layer=options["layer"])
        return only_patches(x, drop=options["drop"], grid=HfVision.grid(tower.config, options))


def square_inputs(config: PreTrainedConfig) -> dict[str, Any]:
    """Return the side of a picture and of a patch in pixels.

    Raises:
        ConfigError: the configuration knows neither.
    """
    if not set(_NEEDED) <= config.to_dict().keys():
        raise ConfigError(
            f"{config.model_type!r} is no encoder of square pictures. "
            "Choose one such as 'siglip_vision_model' or 'clip_vision_model'."
        )
    return {"size": square(config.image_size), "patch": square(config.patch_size)}


def only_patches(x: Tensor, *, drop: int | None, grid: tuple[int, int]) -> Tensor:
    """Return the positions of (U, P, C) that show patches.

    Args:
        x: features of all positions.
        drop: leading positions that show no patch; None or -1 for all that the grid leaves over,
            which is right for every tower whose class tokens and registers come first.
        grid: the patches as (height, width).
    """
    if drop is None or drop < 0:
        drop = max(0, x.shape[1] - grid[0] * grid[1])
    return x[:, drop:]


def check_size(model_type: str, pixels: Tensor, size: int) -> None:
    """Refuse pictures (U, 3, H, W) whose patches would not be those of the tower's grid.

    Raises:
        AlignmentError: H or W is not `size`.
    """
    if pixels.shape[-2:] != (size, size):
        raise AlignmentError(
            f"{model_type!r} got pictures of {pixels.shape[-2]} x {pixels.shape[-1]} pixels, "
            f"expected {size} x {size}. The processor and the model come from different "
            "checkpoints."
        )


def hidden_state(tower: PreTrainedModel, pixels: Tensor, *, layer: int) -> Tensor:
    """Return a hidden state (U, P, C) with all positions; -1 is the tower's own last output."""
    output = tower(pixel_values=pixels, output_hidden_states=layer != -1)
    return output.last_hidden_state if layer == -1 else output.hidden_states[layer]


def square(size: int | list[int] | tuple[int, ...]) -> int:
    """Return the side of a square that may be written as (height, width).

    Raises:
        ConfigError: height and width differ.
    """
    if isinstance(size, int):
        return size
    if len(set(size)) != 1:
        raise ConfigError(f"the encoder takes pictures of {list(size)}, expected a square.")
    return int(size[0])
