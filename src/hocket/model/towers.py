"""The towers and connectors of a composite: encoder inputs in, rows of the language model out.

Parameter names are those of transformers' Llava: ``vision_tower``, ``multi_modal_projector``, and
``video_*``, ``audio_*`` and ``image_arrange`` beside them.

Letters: U encoder units, P positions of a unit, K values of a patch, S spans, R rows over all
spans, D language width, M mel bins, F mel frames, L samples, H and W pixels.
"""

from __future__ import annotations

from einops import rearrange
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from hocket._registry import Registry
from hocket.model.config import HocketConfig
from hocket.parts.arrange import Arrange, build_arrange
from hocket.parts.audio import audio_encoders
from hocket.parts.connector import Connector, build_connector
from hocket.parts.encoder import EncoderKind, Kind, Options
from hocket.parts.features import Features
from hocket.parts.joint import Joint, build_joint
from hocket.parts.vision import vision_encoders
from hocket.tokens.span import Modality


class HocketPreTrainedModel(PreTrainedModel):  # type: ignore[misc] # transformers ships no types
    """What both classes of the composite share with transformers."""

    config_class = HocketConfig
    base_model_prefix = "model"
    input_modalities = ("image", "video", "audio", "text")
    supports_gradient_checkpointing = True
    _skip_keys_device_placement = ["past_key_values"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True


class HocketTowers(HocketPreTrainedModel):
    """Everything of the composite that is not the language model."""

    def __init__(self, config: HocketConfig) -> None:
        super().__init__(config)
        width = config.text_config.hidden_size
        self.vision_tower: PreTrainedModel | None = None
        self.multi_modal_projector: Connector | None = None
        self.image_arrange: Arrange | None = None
        self.video_tower: PreTrainedModel | None = None
        self.video_projector: Connector | None = None
        self.audio_tower: PreTrainedModel | None = None
        self.audio_projector: Connector | None = None
        self._audio_pool = 1
        self.joint_projector: Joint | None = None
        if config.vision_arrange is not None:
            self.image_arrange = build_arrange(config.vision_arrange, width=width)
        if config.vision_config is not None:
            self.vision_tower, self.multi_modal_projector = _build(
                vision_encoders,
                config.vision_config,
                config.vision_encoder,
                config.vision_connector,
                width,
                self.image_arrange,
            )
        if config.video_config is not None:
            self.video_tower, self.video_projector = _build(
                vision_encoders,
                config.video_config,
                config.video_encoder,
                config.video_connector,
                width,
            )
        if config.audio_config is not None:
            self._audio_pool = _audio_pool(config)
            self.audio_tower, self.audio_projector = _build(
                audio_encoders,
                config.audio_config,
                config.audio_encoder,
                config.audio_connector,
                width,
            )
        if config.joint_connector is not None:
            self.joint_projector = build_joint(
                config.joint_connector, in_widths=tower_widths(config), out_width=width
            )

    def image_rows(self, pixels: Tensor, spans: Tensor | None = None) -> Tensor:
        """Turn pictures (U, 3, H, W) or native patches (U, P, K) into (R, D), in span order."""
        return self._shared_rows(pixels, spans, None, Modality.IMAGE)

    def video_rows(
        self, pixels: Tensor, spans: Tensor | None = None, times: Tensor | None = None
    ) -> Tensor:
        """Turn frames (U, 3, H, W) or native patches (U, P, K) into (R, D), in span order."""
        if self.video_tower is None:
            return self._shared_rows(pixels, spans, times, Modality.VIDEO)
        options, config = self.config.video_encoder, self.config.video_config
        kind = vision_encoders.get(options["kind"])
        x = _encode(kind, self.video_tower, pixels, options, spans)
        grid = kind.grid(config, options)
        features = Features(x, grid, spans=spans, times=times, modality=Modality.VIDEO)
        return self._connect(self.video_projector, features)

    def _shared_rows(
        self, pixels: Tensor, spans: Tensor | None, times: Tensor | None, modality: Modality
    ) -> Tensor:
        """Run the tower that pictures and, without one of their own, videos go through."""
        assert self.vision_tower is not None
        options, config = self.config.vision_encoder, self.config.vision_config
        kind = vision_encoders.get(options["kind"])
        x = _encode(kind, self.vision_tower, pixels, options, spans)
        grid = kind.grid(config, options)
        features = Features(x, grid, spans=spans, times=times, modality=modality)
        if self.image_arrange is None:
            return self._connect(self.multi_modal_projector, features)
        features = self.image_arrange.gather(features)
        rows = self._connect(self.multi_modal_projector, features)
        tiles = rearrange(rows, "(u k) d -> u k d", u=len(features.x))
        return self.image_arrange(tiles, features)

    def audio_rows(
        self, sounds: Tensor, lengths: Tensor | None = None, spans: Tensor | None = None
    ) -> Tensor:
        """Turn chunks of sound (U, M, F) or (U, L) into (R, D) rows in span order."""
        assert self.audio_tower is not None
        options = self.config.audio_encoder
        kind = audio_encoders.get(options["kind"])
        sounds = sounds.to(self.audio_tower.dtype)
        x = _scaled(kind.encode(self.audio_tower, sounds, options, spans, lengths), options)
        if lengths is not None:
            lengths = lengths // self._audio_pool
        features = Features(
            x, (1, x.shape[1]), spans=spans, lengths=lengths, modality=Modality.AUDIO
        )
        return self._connect(self.audio_projector, features)

    def _connect(self, own: Connector | None, features: Features) -> Tensor:
        """Turn features into (R, D) by the joint connector, or the tower's own."""
        connector = self.joint_projector or own
        assert connector is not None
        return connector(features)


def tower_widths(config: HocketConfig) -> dict[Modality, int]:
    """Return the feature width of every modality that the model takes."""
    widths = {}
    if config.vision_config is not None:
        kind = vision_encoders.get(config.vision_encoder["kind"])
        width = kind.width(config.vision_config, config.vision_encoder)
        widths = {Modality.IMAGE: width, Modality.VIDEO: width}
    if config.video_config is not None:
        kind = vision_encoders.get(config.video_encoder["kind"])
        widths[Modality.VIDEO] = kind.width(config.video_config, config.video_encoder)
    if config.audio_config is not None:
        kind = audio_encoders.get(config.audio_encoder["kind"])
        widths[Modality.AUDIO] = kind.width(config.audio_config, config.audio_encoder)
    return widths


def _audio_pool(config: HocketConfig) -> int:
    """Return how many of the positions that the audio tower hears are one frame that comes out."""
    kind = audio_encoders.get(config.audio_encoder["kind"])
    return int(kind.inputs(config.audio_config, config.audio_encoder).get("encoder_pool", 1))


def _build(
    kinds: Registry[type[Kind]],
    config: PreTrainedConfig,
    encoder: Options,
    connector: Options | None,
    width: int,
    arrange: Arrange | None = None,
) -> tuple[PreTrainedModel, Connector | None]:
    """Return a tower and the connector, if it has its own, from its features to that width."""
    kind = kinds.get(encoder["kind"])
    if connector is None:
        return kind.build(config), None
    in_width = kind.width(config, encoder)
    if arrange is not None:
        in_width = arrange.in_width(in_width)
    return kind.build(config), build_connector(connector, in_width=in_width, out_width=width)


def _encode(
    kind: type[EncoderKind],
    tower: PreTrainedModel,
    inputs: Tensor,
    options: Options,
    spans: Tensor | None,
) -> Tensor:
    """Return scaled features (U, P, C)."""
    return _scaled(kind.encode(tower, inputs.to(tower.dtype), options, spans), options)


def _scaled(x: Tensor, options: Options) -> Tensor:
    return x if options["scale"] == 1.0 else x * options["scale"]
