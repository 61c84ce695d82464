"""Any vision model of transformers with square pictures and square patches (CLIP, SigLIP, ViT).

Sizes may be one number or (height, width) with two equal ones, as InternViT's are.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from hocket._errors import ConfigError
from hocket.parts.encoder import Options
from hocket.parts.vision import vision_encoders

_NEEDED = ("image_size", "patch_size", "hidden_size")


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
        """Return the patches of a picture as (height, width)."""
        side = square(config.image_size) // square(config.patch_size)
        return side, side

    @staticmethod
    def inputs(config: PreTrainedConfig, options: Options) -> dict[str, Any]:
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

    @staticmethod
    def encode(
        tower: PreTrainedModel, inputs: Tensor, options: Options, spans: Tensor | None
    ) -> Tensor:
        """Return (U, P, C) of pictures (U, 3, S, S)."""
        return hidden_state(tower, inputs, layer=options["layer"])[:, options["drop"] :]


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
