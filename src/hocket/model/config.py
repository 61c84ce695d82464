"""The configuration of a composite: nested configurations of its towers, options of its parts."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from hocket.parts.audio import audio_encoders
from hocket.parts.vision import vision_encoders


class HocketConfig(PreTrainedConfig):  # type: ignore[misc] # transformers ships no types for it
    """Architecture of one checkpoint; everything that is needed to load it.

    Attributes:
        text_config: configuration of the language model.
        vision_config: configuration of the vision tower, or None.
        video_config: configuration of a tower for videos alone, or None.
        audio_config: configuration of the audio tower, or None.
        vision_encoder: ``{"kind", "layer", "drop", "scale", ...options}``: how features are read.
        video_encoder: the same for a tower for videos alone.
        audio_encoder: the same for sound.
        vision_connector: ``{"kind", ...options}`` of the vision connector.
        video_connector: the same for a tower for videos alone.
        audio_connector: the same for sound.
        joint_connector: ``{"kind", ...options}`` of a connector for all modalities, which takes the
            place of each tower's own; or None.
        vision_arrange: ``{"kind", ...options}``: how tiles become one picture, or None.
        image_token_id: placeholder of pictures.
        video_token_id: placeholder of videos.
        audio_token_id: placeholder of sounds.
        init: how weights are drawn that no checkpoint holds: ``fan_in`` or ``transformers``.
    """

    model_type = "hocket"
    sub_configs_defaults = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
        "vision_config": SubConfigSpec(
            config_class=AutoConfig, model_type="siglip_vision_model", optional=True
        ),
        "video_config": SubConfigSpec(
            config_class=AutoConfig, model_type="siglip_vision_model", optional=True
        ),
        "audio_config": SubConfigSpec(config_class=AutoConfig, model_type="whisper", optional=True),
    }

    text_config: Any = None
    vision_config: Any = None
    video_config: Any = None
    audio_config: Any = None
    vision_encoder: Any = None
    video_encoder: Any = None
    audio_encoder: Any = None
    vision_connector: Any = None
    video_connector: Any = None
    audio_connector: Any = None
    joint_connector: Any = None
    vision_arrange: Any = None
    image_token_id: int = 0
    video_token_id: int = 0
    audio_token_id: int = 0
    init: str = "transformers"
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Make the towers known that are no part of transformers, then read the nested parts."""
        for part, kinds in (
            (self.vision_config, vision_encoders),
            (self.video_config, vision_encoders),
            (self.audio_config, audio_encoders),
        ):
            if isinstance(part, dict) and part.get("model_type") in kinds.names():
                kinds.get(part["model_type"])
        super().__post_init__(**kwargs)


AutoConfig.register(HocketConfig.model_type, HocketConfig, exist_ok=True)
