"""The configuration of a composite: nested configurations of its towers, options of its parts."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PreTrainedConfig

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
        shared_positions: visual tokens that share a position of the language model, as VITA may
            have it; 1 for none.
        init: how weights are drawn that no checkpoint holds: ``fan_in`` or ``transformers``.
    """

    model_type = "hocket"
    # Every transformers 5 knows this name; `sub_configs_defaults` came with 5.20.
    sub_configs = {
        "text_config": AutoConfig,
        "vision_config": AutoConfig,
        "video_config": AutoConfig,
        "audio_config": AutoConfig,
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
    shared_positions: int = 1
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
        self.text_config = _opened(self.text_config or {}, "llama")
        self.vision_config = _opened(self.vision_config, "siglip_vision_model")
        self.video_config = _opened(self.video_config, "siglip_vision_model")
        self.audio_config = _opened(self.audio_config, "whisper")
        super().__post_init__(**kwargs)

    @classmethod
    def default_config_fields(cls) -> dict[str, Any]:
        """Return what ``config.json`` leaves out; of a nested part, what is default there."""
        return super().default_config_fields() | {name: {} for name in cls.sub_configs}


def _opened(part: Any, model_type: str) -> Any:
    """Return a nested configuration as its class; one without a type is of `model_type`."""
    return (
        AutoConfig.for_model(**{"model_type": model_type} | part)
        if isinstance(part, dict)
        else part
    )


AutoConfig.register(HocketConfig.model_type, HocketConfig, exist_ok=True)
