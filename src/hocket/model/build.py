"""From a model's description to a model and its processor.

Before any weight is allocated the layouts and connectors are checked against each other: the
processor's arithmetic must promise the rows that the connector will make.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from hocket._errors import AlignmentError, ConfigError, UnknownNameError, did_you_mean
from hocket.chat.template import read_template
from hocket.model.config import HocketConfig
from hocket.model.init import draw_fan_in
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.model.spec import ModelSpec, TokenizerSpec, TowerSpec
from hocket.parts.audio import audio_encoders
from hocket.parts.connector import Connector, build_connector
from hocket.parts.encoder import EncoderKind
from hocket.parts.vision import vision_encoders
from hocket.tokens.layout import AudioLayout, ImageLayout, OptionValue, layout_from, options_of
from hocket.tokens.processor import HocketProcessor
from hocket.tokens.span import Modality, Plan
from hocket.tokens.tokenizer import build_tokenizer, ensure_control_tokens

_GENERAL = "hf"
INITS = ("fan_in", "transformers")


class Built(NamedTuple):
    """A model and the processor that speaks its language."""

    model: HocketForConditionalGeneration
    processor: HocketProcessor


def build(spec: ModelSpec, texts: Iterable[str] = ()) -> Built:
    """Compose a model from its parts with random weights.

    Args:
        spec: the composition.
        texts: text of the training data, when the tokenizer is built from it.

    Raises:
        ConfigError: an option is unknown or does not fit.
        AlignmentError: a layout and a connector disagree about the rows of a medium.
    """
    if spec.init not in INITS:
        hint = did_you_mean(spec.init, INITS)
        raise ConfigError(f"model.init is {spec.init!r}.{hint} Known: {', '.join(INITS)}.")
    tokenizer = _tokenizer(spec.tokenizer, texts)
    template = read_template(spec.tokenizer.template)
    text = _config("model.language", spec.language.model_type, dict(spec.language.config))
    if text.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ConfigError(
            f"model.language.model_type: {text.model_type!r} is no language model that writes "
            "text. Choose one such as 'llama' or 'qwen3'."
        )
    # The table must hold every token; checkpoints may pad it further.
    if "vocab_size" not in spec.language.config:
        text.vocab_size = len(tokenizer)
    elif text.vocab_size < len(tokenizer):
        raise ConfigError(
            f"model.language.config.vocab_size is {text.vocab_size}, but the tokenizer has "
            f"{len(tokenizer)} tokens. Raise it or leave it out."
        )
    text.pad_token_id = tokenizer.pad_token_id
    text.eos_token_id = tokenizer.eos_token_id
    vision = _vision(spec.vision, text.hidden_size) if spec.vision else {}
    audio = _audio(spec.audio, text.hidden_size) if spec.audio else {}
    processor = HocketProcessor(
        tokenizer,
        image_layout=vision.pop("layout", None),
        audio_layout=audio.pop("layout", None),
        video_sampling=_video(spec),
        chat_template=template,
    )
    ids = processor.placeholder_ids
    config = HocketConfig(
        text_config=text,
        image_token_id=ids[Modality.IMAGE],
        video_token_id=ids[Modality.VIDEO],
        audio_token_id=ids[Modality.AUDIO],
        init=spec.init,
        tie_word_embeddings=text.tie_word_embeddings,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **vision,
        **audio,
    )
    with torch.random.fork_rng(), _refusals("model"):
        torch.manual_seed(spec.seed)
        model = HocketForConditionalGeneration(config)
    if spec.init == "fan_in":
        draw_fan_in(model, seed=spec.seed)
    return Built(model, processor)


def _tokenizer(spec: TokenizerSpec, texts: Iterable[str]) -> PreTrainedTokenizerFast:
    if not spec.path:
        return build_tokenizer(texts, vocab_size=spec.vocab_size)
    if not Path(spec.path).is_dir():
        raise ConfigError(
            f"model.tokenizer.path: no folder {spec.path}. Give the folder that holds "
            "tokenizer.json, or leave it empty to build one from the data."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(spec.path, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"model.tokenizer.path: {spec.path} holds no tokenizer that can be opened. "
            "Give the folder that holds tokenizer.json."
        ) from error
    ensure_control_tokens(tokenizer)
    return tokenizer


def _config(key: str, model_type: str, options: dict[str, Any]) -> PreTrainedConfig:
    """Return the transformers configuration of a part; unknown options are errors."""
    if model_type not in CONFIG_MAPPING:
        hint = did_you_mean(model_type, CONFIG_MAPPING.keys())
        raise ConfigError(f"{key}.model_type: transformers has no {model_type!r}.{hint}")
    known = set(CONFIG_MAPPING[model_type]().to_dict())
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ConfigError(f"{key}.config: {model_type!r} has no option {name!r}.{hint}")
    with _refusals(f"{key}.config"):
        return AutoConfig.for_model(model_type, **options)


@contextmanager
def _refusals(key: str) -> Iterator[None]:
    """Turn what transformers says about an impossible configuration into one sentence."""
    try:
        yield
    except (StrictDataclassError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        reason = re.sub(r"^\w+Error: ", "", str(error).strip().splitlines()[-1].strip()).rstrip(".")
        raise ConfigError(f"{key}: transformers refuses it: {reason}. Change it.") from error


def _vision(spec: TowerSpec, width: int) -> dict[str, Any]:
    config = _config("model.vision", spec.model_type, dict(spec.config))
    if not {"image_size", "patch_size", "hidden_size"} <= config.to_dict().keys():
        raise ConfigError(
            f"model.vision.model_type: {spec.model_type!r} is no encoder of square pictures. "
            "Choose one such as 'siglip_vision_model' or 'clip_vision_model'."
        )
    kind = _kind("vision encoder", spec.model_type, vision_encoders.names())
    encoder = vision_encoders.get(kind)
    layout: ImageLayout = layout_from(_layout_options(spec, config))  # type: ignore[assignment] # the vision layouts are ImageLayouts
    connector = _connector(spec, encoder, config, width)
    side = int(config.image_size)
    rows = connector.rows(layout.plan(side, side))
    layout = layout_from(options_of(layout) | {"rows_per_unit": rows})  # type: ignore[assignment] # as above
    for height, wide in ((side, side), (3 * side, side), (side, 2 * side)):
        plan = layout.plan(height, wide)
        if plan.patches != encoder.grid(config):
            raise AlignmentError(
                f"model.vision: the layout cuts {plan.patches} patches, but the encoder makes "
                f"{encoder.grid(config)}. Set the layout's size and patch to the encoder's."
            )
        _agree("model.vision", plan.rows, connector.rows(plan))
    _check_features("model.vision", spec, encoder, config, (3, side, side))
    return {
        "vision_config": config,
        "vision_encoder": {"kind": kind, "layer": spec.layer, "drop": spec.drop},
        "vision_connector": {"kind": spec.connector.kind} | dict(spec.connector.options),
        "layout": options_of(layout),
    }


def _audio(spec: TowerSpec, width: int) -> dict[str, Any]:
    config = _config("model.audio", spec.model_type, dict(spec.config))
    kind = _kind("audio encoder", spec.model_type, audio_encoders.names())
    encoder = audio_encoders.get(kind)
    options: dict[str, OptionValue] = {"kind": spec.layout.kind, "mels": int(config.num_mel_bins)}
    layout: AudioLayout = layout_from(options | dict(spec.layout.options))  # type: ignore[assignment] # the audio layouts are AudioLayouts
    connector = _connector(spec, encoder, config, width)
    frames = _frames_per_row(connector, layout.plan(1))
    layout = layout_from(options_of(layout) | {"frames_per_row": frames})  # type: ignore[assignment] # as above
    for seconds in (0.01, 0.5, 1.0, 2.7, 61.3):
        plan = layout.plan(round(seconds * layout.rate))
        if plan.patches != encoder.grid(config):
            raise AlignmentError(
                f"model.audio: the layout makes {plan.patches[1]} encoder frames per chunk, but "
                f"the encoder makes {encoder.grid(config)[1]}. Set layout.chunk_seconds to match "
                "max_source_positions."
            )
        _agree("model.audio", plan.rows, connector.rows(plan))
    mels = (int(config.num_mel_bins), 2 * encoder.grid(config)[1])
    _check_features("model.audio", spec, encoder, config, mels)
    return {
        "audio_config": config,
        "audio_encoder": {"kind": kind, "layer": spec.layer, "drop": spec.drop},
        "audio_connector": {"kind": spec.connector.kind} | dict(spec.connector.options),
        "layout": options_of(layout),
    }


def _kind(noun: str, model_type: str, names: list[str]) -> str:
    """A file of the model type's own name, or the general one."""
    if model_type in names:
        return model_type
    if _GENERAL not in names:
        raise UnknownNameError(noun, model_type, names)
    return _GENERAL


def _layout_options(spec: TowerSpec, config: PreTrainedConfig) -> dict[str, Any]:
    sizes = {"size": int(config.image_size), "patch": int(config.patch_size)}
    return {"kind": spec.layout.kind} | sizes | dict(spec.layout.options)


def _connector(
    spec: TowerSpec, encoder: type[EncoderKind], config: PreTrainedConfig, width: int
) -> Connector:
    options = {"kind": spec.connector.kind} | dict(spec.connector.options)
    with torch.device("meta"):
        return build_connector(options, in_width=encoder.width(config), out_width=width)


def _check_features(
    key: str,
    spec: TowerSpec,
    encoder: type[EncoderKind],
    config: PreTrainedConfig,
    shape: tuple[int, ...],
) -> None:
    """Run the tower once without numbers, and compare its positions with the grid it promises.

    Args:
        key: where the tower stands in the configuration.
        spec: the tower.
        encoder: its kind.
        config: its transformers configuration.
        shape: shape of one encoder unit.
    """
    depth = int(config.num_hidden_layers)
    if not -depth - 1 <= spec.layer <= depth:
        raise ConfigError(
            f"{key}.layer is {spec.layer}, but the encoder has the hidden states {-depth - 1} to "
            f"{depth}."
        )
    with _refusals(f"{key}.config"), torch.device("meta"), torch.inference_mode():
        tower = encoder.build(config)
        features = encoder.encode(tower, torch.empty(1, *shape), layer=spec.layer, drop=spec.drop)
    made, promised = features.shape[1], math.prod(encoder.grid(config))
    if made != promised:
        raise AlignmentError(
            f"{key}: the encoder makes {made} positions with drop={spec.drop}, but its grid has "
            f"{promised}. Set drop to {spec.drop + made - promised}."
        )


def _frames_per_row(connector: Connector, plan: Plan) -> int:
    """Return how many encoder frames of a sound the connector joins in one row."""
    most = plan.patches[1]
    short = (replace(plan, units=1, valid=(frames,)) for frames in range(1, most + 1))
    return sum(connector.rows(one) == 1 for one in short) or 1


def _agree(key: str, promised: int, made: int) -> None:
    if promised != made:
        raise AlignmentError(
            f"{key}: the layout promises {promised} rows for a medium, but the connector makes "
            f"{made}. Change the layout's or the connector's options."
        )


def _video(spec: ModelSpec) -> dict[str, Any] | None:
    if spec.video is None:
        return None
    if spec.vision is None:
        raise ConfigError("model.video needs eyes: set model.vision, or leave model.video out.")
    return {"kind": spec.video.sampler} | dict(spec.video.options)
