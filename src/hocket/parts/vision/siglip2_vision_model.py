"""SigLIP 2 with pictures of its own size, whose transformers class takes them as flat patches.

The class can also read pictures of several sizes padded to a common number of patches; here every
picture fills its square, so that nothing is padded. A patch is flattened as (row, column, channel).

Letters: U pictures, S side of a picture in pixels, P patches, C width, p and q pixels of a patch.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from hocket._errors import ConfigError
from hocket.parts.encoder import NoOptions, Options, own_options
from hocket.parts.vision import vision_encoders
from hocket.parts.vision.hf import HfVision, check_size, only_patches


@vision_encoders.register
class Siglip2Vision:
    """Built by ``AutoModel.from_config``; takes float (U, 3, S, S)."""

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
        """Return the patches of a picture as (height, width)."""
        side = math.isqrt(config.num_patches)
        return side, side

    @staticmethod
    def inputs(config: PreTrainedConfig, options: Options) -> dict[str, Any]:
        """Return the side of a picture and of a patch in pixels.

        Raises:
            ConfigError: the patches make no square, or an option is unknown.
        """
        own_options("vision encoder", NoOptions, options)
        side = math.isqrt(config.num_patches)
        if side**2 != config.num_patches:
            raise ConfigError(
                f"'siglip2_vision_model': num_patches is {config.num_patches}, expected a square "
                "number such as 256."
            )
        return {"size": side * config.patch_size, "patch": config.patch_size}

    @staticmethod
    def encode(
        tower: PreTrainedModel, inputs: Tensor, options: Options, spans: Tensor | None
    ) -> Tensor:
        """Return (U, P, C) of pictures (U, 3, S, S).

        Raises:
            AlignmentError: the pictures have another size than the tower's.
        """
        grid, side = Siglip2Vision.grid(tower.config, options), tower.config.patch_size
        check_size("siglip2_vision_model", inputs, grid[0] * side)
        flat = rearrange(inputs, "u c (h p) (w q) -> u (h w) (p q c)", p=side, q=side)
        output = tower(
            pixel_values=flat,
            pixel_attention_mask=None,
            # The class reads these numbers on the host.
            spatial_shapes=torch.tensor([grid] * len(inputs), dtype=torch.int64),
            output_hidden_states=options["layer"] != -1,
        )
        layer = options["layer"]
        x = output.last_hidden_state if layer == -1 else output.hidden_states[layer]
        return only_patches(x, drop=options["drop"], grid=grid)
