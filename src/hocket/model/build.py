"""From a model's description to a model and its processor.

`describe` checks everything before a weight is allocated; `build` then draws or reads the weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerFast
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from hocket._errors import ConfigError, did_you_mean
from hocket.chat.template import read_template
from hocket.model.config import HocketConfig
from hocket.model.describe import (
    describe_audio,
    describe_film,
    describe_vision,
    part_config,
    part_options,
    refusals,
)
from hocket.model.init import draw_fan_in
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.model.pretrained import adopt, is_local, stretch_context
from hocket.model.spec import LanguageSpec, ModelSpec, TokenizerSpec
from hocket.tokens.moments import add_moments
from hocket.tokens.processor import HocketProcessor
from hocket.tokens.span import Modality
from hocket.tokens.tokenizer import build_tokenizer, ensure_control_tokens

INITS = ("fan_in", "transformers")


class Described(NamedTuple):
    """A configuration and the processor that belongs to it, before any weight is allocated."""

    config: HocketConfig
    processor: HocketProcessor


class Built(NamedTuple):
    """A model and the processor that speaks its language."""

    model: HocketForConditionalGeneration
    processor: HocketProcessor


def build(spec: ModelSpec, texts: Iterable[str] = (), *, weights: bool = True) -> Built:
    """Compose a model from its parts: pretrained where they name a path, random elsewhere.

    Args:
        spec: the composition.
        texts: text of the training data, when the tokenizer is built from it.
        weights: whether to draw and read weights; without, the model is on the device ``meta``,
            which has shapes and no numbers.

    Raises:
        ConfigError: an option is unknown or does not fit.
        AlignmentError: a layout and a connector disagree about the rows of a medium.
        CheckpointError: the weights of a part cannot be opened or do not fit.
    """
    config, processor = describe(spec, texts)
    if not weights:
        with torch.device("meta"), refusals("model"):
            return Built(HocketForConditionalGeneration(config), processor)
    with torch.random.fork_rng(), refusals("model"):
        torch.manual_seed(spec.seed)
        model = HocketForConditionalGeneration(config)
    if spec.init == "fan_in":
        draw_fan_in(model, seed=spec.seed)
    adopt(model, spec)
    return Built(model, processor)


def describe(
    spec: ModelSpec,
    texts: Iterable[str] = (),
    *,
    tokenizer: PreTrainedTokenizerFast | None = None,
    text_rules: dict[str, Any] | None = None,
) -> Described:
    """Return what `build` would build, without its weights.

    Args:
        spec: the composition.
        texts: text of the training data, when the tokenizer is built from it.
        tokenizer: a tokenizer to use in place of the one that the composition names; placeholders
            that it lacks are added to it.
        text_rules: options of `hocket.tokens.text.TextRules`, for imported checkpoints only.

    Raises:
        ConfigError: an option is unknown or does not fit.
        AlignmentError: a layout and a connector disagree about the rows of a medium.
    """
    _check_init(spec.init)
    if tokenizer is None:
        tokenizer = _tokenizer(spec.tokenizer, spec.language.path, texts)
    else:
        ensure_control_tokens(tokenizer)
    if spec.tokenizer.moments:
        add_moments(tokenizer, spec.tokenizer.moments)
    text = _language(spec.language, tokenizer)
    vision = describe_vision(spec.vision, text.hidden_size, spec.joint) if spec.vision else {}
    tower = spec.video.tower if spec.video else None
    film = describe_film(tower, text.hidden_size, spec.joint) if tower else {}
    audio = describe_audio(spec.audio, text.hidden_size, spec.joint) if spec.audio else {}
    processor = HocketProcessor(
        tokenizer,
        image_layout=vision.pop("layout", None),
        audio_layout=audio.pop("layout", None),
        video_sampling=_video(spec),
        video_sound=spec.video is not None and spec.video.sound,
        video_layout=film.pop("layout", None),
        chat_template=read_template(spec.tokenizer.template),
        text_rules=text_rules,
    )
    ids = processor.placeholder_ids
    config = HocketConfig(
        text_config=text,
        image_token_id=ids[Modality.IMAGE],
        video_token_id=ids[Modality.VIDEO],
        audio_token_id=ids[Modality.AUDIO],
        joint_connector=part_options(spec.joint) if spec.joint else None,
        shared_positions=_shared_positions(spec.language),
        init=spec.init,
        tie_word_embeddings=text.tie_word_embeddings,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **vision,
        **film,
        **audio,
    )
    return Described(config, processor)


def _check_init(init: str) -> None:
    if init not in INITS:
        hint = did_you_mean(init, INITS)
        raise ConfigError(f"model.init is {init!r}.{hint} Known: {', '.join(INITS)}.")


def _language(spec: LanguageSpec, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
    if not spec.path:
        spec = replace(spec, model_type=spec.model_type or "llama")
    text = part_config("model.language", spec, half="language")
    if text.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ConfigError(
            f"model.language.model_type: {text.model_type!r} is no language model that writes "
            "text. Choose one such as 'llama' or 'qwen3'."
        )
    # The table must hold every token; checkpoints may pad it further.
    if "vocab_size" not in spec.config:
        text.vocab_size = max(len(tokenizer), text.vocab_size if spec.path else 0)
    elif text.vocab_size < len(tokenizer):
        raise ConfigError(
            f"model.language.config.vocab_size is {text.vocab_size}, but the tokenizer has "
            f"{len(tokenizer)} tokens. Raise it or leave it out."
        )
    stretch_context(text, spec.context)
    text.pad_token_id = tokenizer.pad_token_id
    text.eos_token_id = tokenizer.eos_token_id
    return text


def _shared_positions(spec: LanguageSpec) -> int:
    if spec.shared_positions < 1:
        raise ConfigError(
            f"model.language.shared_positions is {spec.shared_positions}, expected 1 (none) or "
            "more."
        )
    return spec.shared_positions


def _tokenizer(spec: TokenizerSpec, language: str, texts: Iterable[str]) -> PreTrainedTokenizerFast:
    path = spec.path or language
    if not path:
        return build_tokenizer(texts, vocab_size=spec.vocab_size)
    if spec.path and not Path(path).is_dir():
        raise ConfigError(
            f"model.tokenizer.path: no folder {spec.path}. Give the folder that holds "
            "tokenizer.json, or leave it empty to build one from the data."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=is_local(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"model.tokenizer.path: {path} holds no tokenizer that can be opened. "
            "Give the folder that holds tokenizer.json."
        ) from error
    ensure_control_tokens(tokenizer)
    return tokenizer


def _video(spec: ModelSpec) -> dict[str, Any] | None:
    if spec.video is None:
        return None
    if spec.vision is None and spec.video.tower is None:
        raise ConfigError("model.video needs eyes: set model.vision, or leave model.video out.")
    if spec.video.sound and spec.audio is None:
        raise ConfigError("model.video.sound needs ears: set model.audio, or leave it out.")
    return {"kind": spec.video.sampler} | dict(spec.video.options)
