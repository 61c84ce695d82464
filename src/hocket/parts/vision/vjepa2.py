"""V-JEPA 2 as an encoder of videos.

`hocket.parts.vision._clips` says how frames become clips.

Letters: B clips, T frames of a clip, S side of a frame in pixels, C width.
"""

from __future__ import annotations

from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from hocket.parts.vision import vision_encoders
from hocket.parts.vision._clips import Clip, ClipEncoder
from hocket.parts.vision.hf import square


@vision_encoders.register
class Vjepa2(ClipEncoder):
    """The encoder of V-JEPA 2; its predictor does not run."""

    @staticmethod
    def clip(config: PreTrainedConfig) -> Clip:
        """Return what the tower takes at once."""
        return Clip(
            frames=config.frames_per_clip,
            tubelet=config.tubelet_size,
            size=config.crop_size,
            patch=square(config.patch_size),
        )

    @staticmethod
    def read(tower: PreTrainedModel, clips: Tensor, layer: int) -> Tensor:
        """Return (B, positions, C) of clips (B, T, 3, S, S)."""
        output = tower(
            pixel_values_videos=clips, skip_predictor=True, output_hidden_states=layer != -1
        )
        return output.last_hidden_state if layer == -1 else output.hidden_states[layer]
