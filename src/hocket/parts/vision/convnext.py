"""ConvNeXt (Liu et al. 2022), the tower of ConvLLaVA: convolutions, a coarser grid at each stage.

What a thing looks like is learned once for every place in a picture, where a transformer learns it
for each patch anew; small towers trained from scratch see with far fewer pictures. A picture of any
square size that the last stage's pixels divide is taken; there is no class token.

Letters: U pictures, S side of a picture in pixels, P positions, C width, H and W positions.
"""

from __future__ import annotations

from typing import Any

from einops import rearrange
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from hocket._errors import ConfigError
from hocket.parts.encoder import NoOptions, Options, own_options
from hocket.parts.vision import vision_encoders
from hocket.parts.vision.hf import HfVision, check_size, hidden_state, square


@vision_encoders.register
class ConvNext:
    """Built by ``AutoModel.from_config``; takes float (U, 3, S, S)."""

    @staticmethod
    def build(config: PreTrainedConfig) -> PreTrainedModel:
        """Return the tower with random weights."""
        return HfVision.build(config)

    @staticmethod
    def width(config: PreTrainedConfig, options: Options) -> int:
        """Return the width of the stage that is read."""
        return int(config.hidden_sizes[_stage(config, options) - 1])

    @staticmethod
    def grid(config: PreTrainedConfig, options: Options) -> tuple[int, int]:
        """Return the positions of a picture as (height, width)."""
        side = square(config.image_size) // _pixels(config, options)
        return side, side

    @staticmethod
    def inputs(config: PreTrainedConfig, options: Options) -> dict[str, Any]:
        """Return the side of a picture, and of what becomes one position, in pixels.

        Raises:
            ConfigError: a stage leaves pixels over, there is no such stage, or an option is
                unknown.
        """
        own_options("vision encoder", NoOptions, options)
        size, last = square(config.image_size), _pixels(config, {})
        if size % last:
            raise ConfigError(
                f"'convnext': image_size is {size}, expected a multiple of {last}: patches of "
                f"{square(config.patch_size)} pixels, halved by each of {config.num_stages} stages "
                "but the first."
            )
        return {"size": size, "patch": _pixels(config, options)}

    @staticmethod
    def encode(
        tower: PreTrainedModel, inputs: Tensor, options: Options, spans: Tensor | None
    ) -> Tensor:
        """Return (U, P, C) of pictures (U, 3, S, S).

        Raises:
            AlignmentError: the pictures have another size than the tower's.
        """
        check_size("convnext", inputs, square(tower.config.image_size))
        x = hidden_state(tower, inputs, layer=options["layer"])
        return rearrange(x, "u c h w -> u (h w) c")


def _stage(config: PreTrainedConfig, options: Options) -> int:
    """Return the stage whose output is read, from 1; what goes into the first is of its size.

    Raises:
        ConfigError: there is no such stage.
    """
    layer, stages = int(options.get("layer", -1)), int(config.num_stages)
    if not -stages - 1 <= layer <= stages:
        raise ConfigError(
            f"'convnext': layer is {layer}, but there are {stages} stages. Choose from "
            f"{-stages - 1} to {stages}."
        )
    return max(1, layer if layer >= 0 else stages + 1 + layer)


def _pixels(config: PreTrainedConfig, options: Options) -> int:
    """Return the side of what becomes one position, in pixels."""
    return int(square(config.patch_size) * 2 ** (_stage(config, options) - 1))
