"""Any vision model of transformers with square pictures and square patches (CLIP, SigLIP, ViT)."""

from __future__ import annotations

from torch import Tensor
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from hocket.parts.vision import vision_encoders


@vision_encoders.register
class HfVision:
    """Built by ``AutoModel.from_config``; takes float (U, 3, S, S)."""

    @staticmethod
    def build(config: PreTrainedConfig) -> PreTrainedModel:
        """Return the tower with random weights."""
        return AutoModel.from_config(config)

    @staticmethod
    def width(config: PreTrainedConfig) -> int:
        """Return the hidden size."""
        return int(config.hidden_size)

    @staticmethod
    def grid(config: PreTrainedConfig) -> tuple[int, int]:
        """Return the patches of a picture as (height, width)."""
        side = int(config.image_size) // int(config.patch_size)
        return side, side

    @staticmethod
    def encode(tower: PreTrainedModel, inputs: Tensor, *, layer: int, drop: int) -> Tensor:
        """Return (U, P, C); layer -1 is the tower's own last output."""
        output = tower(pixel_values=inputs, output_hidden_states=layer != -1)
        x = output.last_hidden_state if layer == -1 else output.hidden_states[layer]
        return x[:, drop:]
