"""ViViT as an encoder of videos.

`hocket.parts.vision._clips` says how frames become clips.

Letters: B clips, T frames of a clip, S side of a frame in pixels, C width.
"""

from __future__ import annotations

from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from hocket.parts.vision import vision_encoders
from hocket.parts.vision._clips import Clip, ClipEncoder
from hocket.parts.vision.hf import hidden_state, square


@vision_encoders.register
class Vivit(ClipEncoder):
    """ViViT with its joint attention over space and time; one class token leads."""

    @staticmethod
    def clip(config: PreTrainedConfig) -> Clip:
        """Return what the tower takes at once."""
        tubelet, *patch = config.tubelet_size
        return Clip(
            frames=config.num_frames,
            tubelet=int(tubelet),
            size=square(config.image_size),
            patch=square(patch),
        )

    @staticmethod
    def read(tower: PreTrainedModel, clips: Tensor, layer: int) -> Tensor:
        """Return (B, positions, C) of clips (B, T, 3, S, S)."""
        return hidden_state(tower, clips, layer=layer)
