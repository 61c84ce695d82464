"""What a model is composed of, as plain data: one vision part, one audio part, one language part.

Each part names its kind (a transformers `model_type` for towers and language models, a registered
file for connectors and layouts) and its options. `hocket.model.build` turns it into a model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# A dictionary describes a part inside a part, such as the connector that `temporal_pool` wraps.
Value = int | float | str | bool | list[int] | list[float] | list[str] | dict[str, Any] | None
Options = dict[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSpec:
    """A registered part and its options.

    Attributes:
        kind: the registered name, such as ``mlp``.
        options: keyword options of that part.
        path: for connectors, the safetensors file, Hocket checkpoint or run that its weights come
            from; empty draws random weights.
    """

    kind: str
    options: Options = field(default_factory=dict)
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerSpec:
    """An encoder of pictures or sound, and how it joins the language model.

    Attributes:
        model_type: the transformers model type of the encoder, such as ``siglip_vision_model``;
            may be empty with a `path`.
        path: transformers directory (or hub id), Hocket checkpoint or run that the encoder's
            configuration and weights come from; empty draws random weights.
        config: options of that transformers configuration; the rest keep their defaults.
        encoder: how the tower is read, such as ``s2``; None for the file of the model type's own
            name, or ``hf``.
        layer: index of the hidden state used; -1 is the encoder's own last output.
        drop: leading tokens to drop: 1 for a class token.
        scale: factor of the features.
        layout: how media become encoder inputs.
        connector: how encoder features become rows of the language model; None where the model
            has a joint connector.
        arrange: how the rows of several tiles become one picture; None joins them in order.
    """

    layout: PartSpec
    connector: PartSpec | None = None
    model_type: str = ""
    path: str = ""
    config: Options = field(default_factory=dict)
    encoder: PartSpec | None = None
    layer: int = -1
    drop: int = 0
    scale: float = 1.0
    arrange: PartSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageSpec:
    """The language model.

    Attributes:
        model_type: the transformers model type, such as ``llama`` or ``qwen3``; may be empty with a
            `path`, and means ``llama`` when both are empty.
        path: transformers directory (or hub id) that configuration, weights and, unless another
            is named, the tokenizer come from; empty draws random weights.
        config: options of that transformers configuration.
        context: longest sequence in tokens; beyond the model's own its rotary positions are scaled
            linearly by the next whole factor, as VILA does. 0 keeps the model's own.
        shared_positions: visual tokens that share a position, VITA's ``shared_v_pid_stride``; 1
            for none.
    """

    model_type: str = ""
    path: str = ""
    context: int = 0
    shared_positions: int = 1
    config: Options = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSpec:
    """Where the tokenizer comes from.

    Attributes:
        path: folder of a tokenizer; empty builds one from the words of the training data.
        vocab_size: largest vocabulary, when built from the data.
        template: name of the chat template, a file in ``chat/templates``.
        moments: tokens for moments of a video, which divide it evenly; 0 adds none.
    """

    path: str = ""
    vocab_size: int = 4096
    template: str = "chatml"
    moments: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSpec:
    """How a video becomes frames for a tower.

    Attributes:
        sampler: name of the frame sampler, a file in ``media/frames``.
        options: options of the sampler, such as ``{"frames": 8}``.
        tower: an encoder of its own for videos; None shares the vision tower.
        sound: whether the model hears the sound of a video, behind its frames.
    """

    sampler: str = "uniform"
    options: Options = field(default_factory=lambda: {"frames": 8})
    tower: TowerSpec | None = None
    sound: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A composition: towers, connectors, language model, tokenizer and initial weights.

    Attributes:
        language: the language model.
        vision: the picture and video tower; None for a model without eyes.
        audio: the sound tower; None for a model without ears.
        video: how videos are sampled; None for a model without video.
        joint: one connector for all modalities in place of each tower's own; None for none.
        tokenizer: where the tokenizer comes from.
        init: ``fan_in`` for small models trained from scratch, ``transformers`` for each
            class's own.
        seed: seed of the initial weights.
    """

    language: LanguageSpec
    vision: TowerSpec | None = None
    audio: TowerSpec | None = None
    video: VideoSpec | None = None
    joint: PartSpec | None = None
    tokenizer: TokenizerSpec = field(default_factory=TokenizerSpec)
    init: str = "fan_in"
    seed: int = 0
