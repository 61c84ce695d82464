"""The towers and connectors of a composite: encoder inputs in, rows of the language model out.

Parameter names are those of transformers' Llava: ``vision_tower``, ``multi_modal_projector``, and
``video_*``, ``audio_*`` and ``image_arrange`` beside them.

Letters: U encoder units, P positions of a unit, K values of a patch, S spans, R rows over all
spans, D language width, M mel bins, F mel frames, L samples, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

from einops import rearrange
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from hocket._errors import ConfigError
from hocket._registry import Registry
from hocket.model.config import HocketConfig
from hocket.model.sequence.group import Shard
from hocket.model.sequence.share import share_work
from hocket.parts.arrange import Arrange, build_arrange
from hocket.parts.audio import audio_encoders
from hocket.parts.connector import Connector, build_connector
from hocket.parts.encoder import Kind, Options
from hocket.parts.features import Features
from hocket.parts.joint import Joint, build_joint
from hocket.parts.vision import vision_encoders
from hocket.tokens.span import Modality

TOWERS = ("vision_tower", "video_tower", "audio_tower")
"""The attributes of the composite that may hold a tower."""


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

    def media_rows(
        self, media: Mapping[str, Tensor | None], sequence: Shard | None = None
    ) -> dict[int, Tensor]:
        """Return the rows (R, D) of each kind of media by its placeholder token.

        Args:
            media: tensors by their names in `hocket.tokens.batch.Batch`.
            sequence: processes that share the work; None makes all rows here.
        """
        config, rows, get = self.config, {}, media.get
        if get("pixel_values") is not None or get("image_features") is not None:
            rows[config.image_token_id] = share_work(
                lambda spans, pixels, known: self.image_rows(pixels, spans, features=known),
                sequence,
                get("image_spans"),
                *map(get, ("pixel_values", "image_features")),
            )
        if get("pixel_values_videos") is not None or get("video_features") is not None:
            rows[config.video_token_id] = share_work(
                lambda spans, pixels, times, known: self.video_rows(
                    pixels, spans, times, features=known
                ),
                sequence,
                get("video_spans"),
                *map(get, ("pixel_values_videos", "frame_times", "video_features")),
            )
        if get("input_features") is not None or get("audio_features") is not None:
            rows[config.audio_token_id] = share_work(
                lambda spans, sounds, lengths, known: self.audio_rows(
                    sounds, lengths, spans, features=known
                ),
                sequence,
                get("audio_spans"),
                *map(get, ("input_features", "feature_lengths", "audio_features")),
            )
        return rows

    def image_rows(
        self,
        pixels: Tensor | None,
        spans: Tensor | None = None,
        *,
        features: Tensor | None = None,
    ) -> Tensor:
        """Turn pictures (U, 3, H, W) or native patches (U, P, K) into (R, D), in span order.

        `features` (U, P, C), what `encode` made of the pixels before, stands in their place here
        and below.
        """
        x = self._features(Modality.IMAGE, pixels, features, spans)
        return self._shared_rows(x, spans, None, Modality.IMAGE)

    def video_rows(
        self,
        pixels: Tensor | None,
        spans: Tensor | None = None,
        times: Tensor | None = None,
        *,
        features: Tensor | None = None,
    ) -> Tensor:
        """Turn frames (U, 3, H, W) or native patches (U, P, K) into (R, D), in span order."""
        x = self._features(Modality.VIDEO, pixels, features, spans)
        options, config = self.config.video_encoder, self.config.video_config
        if config is None:
            return self._shared_rows(x, spans, times, Modality.VIDEO)
        grid = vision_encoders.get(options["kind"]).grid(config, options)
        found = Features(x, grid, spans=spans, times=times, modality=Modality.VIDEO)
        return self._connect(self.video_projector, found)

    def _shared_rows(
        self, x: Tensor, spans: Tensor | None, times: Tensor | None, modality: Modality
    ) -> Tensor:
        """Connect features of the tower of pictures and, without one of their own, of videos."""
        options, config = self.config.vision_encoder, self.config.vision_config
        grid = vision_encoders.get(options["kind"]).grid(config, options)
        features = Features(x, grid, spans=spans, times=times, modality=modality)
        if self.image_arrange is None:
            return self._connect(self.multi_modal_projector, features)
        features = self.image_arrange.gather(features)
        rows = self._connect(self.multi_modal_projector, features)
        tiles = rearrange(rows, "(u k) d -> u k d", u=len(features.x))
        return self.image_arrange(tiles, features)

    def audio_rows(
        self,
        sounds: Tensor | None,
        lengths: Tensor | None = None,
        spans: Tensor | None = None,
        *,
        features: Tensor | None = None,
    ) -> Tensor:
        """Turn chunks of sound (U, M, F) or (U, L) into (R, D) rows in span order."""
        x = self._features(Modality.AUDIO, sounds, features, spans, lengths)
        if lengths is not None:
            lengths = lengths // self._audio_pool
        found = Features(x, (1, x.shape[1]), spans=spans, lengths=lengths, modality=Modality.AUDIO)
        return self._connect(self.audio_projector, found)

    def encode(
        self,
        modality: Modality,
        inputs: Tensor,
        spans: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Run a tower: encoder inputs (U, ...) in, scaled features (U, P, C) out.

        Args:
            modality: what the units show.
            inputs: units as the layout makes them.
            spans: int64 (S, 7); None when every unit is its own span.
            lengths: for sound int64 (U,) positions that are not padding; None when all are.

        Raises:
            ConfigError: the tower is put aside, because its features are known.
        """
        name = tower_name(self.config, modality)
        tower = {
            "vision_tower": self.vision_tower,
            "video_tower": self.video_tower,
            "audio_tower": self.audio_tower,
        }[name]
        if tower is None:
            raise ConfigError(
                f"the {name} is put aside while its features come from the cache. "
                "Set feature_cache=off to use it meanwhile."
            )
        options = tower_options(self.config, modality)
        inputs = inputs.to(tower.dtype)
        if modality is Modality.AUDIO:
            ears = audio_encoders.get(options["kind"])
            x = ears.encode(tower, inputs, options, spans, lengths)
        else:
            x = vision_encoders.get(options["kind"]).encode(tower, inputs, options, spans)
        return x if options["scale"] == 1.0 else x * options["scale"]

    def _features(
        self,
        modality: Modality,
        inputs: Tensor | None,
        features: Tensor | None,
        spans: Tensor | None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Return features that are known, or those of the tower."""
        if features is not None:
            return features.to(self.dtype)
        assert inputs is not None
        return self.encode(modality, inputs, spans, lengths)

    def _connect(self, own: Connector | None, features: Features) -> Tensor:
        """Turn features into (R, D) by the joint connector, or the tower's own."""
        connector = self.joint_projector or own
        assert connector is not None
        return connector(features)


def tower_name(config: HocketConfig, modality: Modality) -> str:
    """Return the attribute of the tower that a modality goes through."""
    if modality is Modality.AUDIO:
        return "audio_tower"
    own = modality is Modality.VIDEO and config.video_config is not None
    return "video_tower" if own else "vision_tower"


def tower_options(config: HocketConfig, modality: Modality) -> Options:
    """Return how the tower of a modality is read."""
    return {
        "vision_tower": config.vision_encoder,
        "video_tower": config.video_encoder,
        "audio_tower": config.audio_encoder,
    }[tower_name(config, modality)]


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
