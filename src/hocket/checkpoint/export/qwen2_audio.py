"""Qwen2-Audio for transformers, vLLM and SGLang: its own encoder, one linear layer, Qwen 2.

The names are those of before transformers 4.52, which are the only ones that all three load. Qwen 2
is asked for because vLLM builds no other language model behind this encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

from hocket.chat.template import read_template, template_names
from hocket.checkpoint.export import ACCEPT, ExportOptions, Source, Verification, exporters
from hocket.checkpoint.export._compare import TEXT, compare_answers, open_strictly, random_wave
from hocket.checkpoint.export._files import (
    shared_options,
    text_config,
    tied,
    write_ruled_text_files,
)
from hocket.checkpoint.export._refusal import need_connector, need_plain_reading, refusal
from hocket.checkpoint.export._rename import Rule, rename
from hocket.checkpoint.export._text import need_same_tokens
from hocket.checkpoint.tools.tensors import Entry, read_json, write_json, write_tensors
from hocket.tokens.layout import options_of
from hocket.tokens.layout.audio_mel import HOP, WINDOW, AudioMel
from hocket.tokens.tokenizer import AUDIO

TARGET = "qwen2_audio"
TOWER = "qwen2_audio_encoder"
LANGUAGE = "qwen2"
PLACE, START, END = "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"
RATE = 16000
NAMES = (
    Rule("model.audio_tower.", "audio_tower."),
    Rule("model.audio_projector.linear.", "multi_modal_projector.linear."),
    Rule("model.language_model.", "language_model.model."),
    Rule("lm_head.", "language_model.lm_head."),
)
_WINDOW_SECONDS = 30
_TABLE = "model.language_model.embed_tokens.weight"
# Our templates write <audio> for a part of sound; as text it keeps the target's own placeholder.
_SOUND_AS_TEXT = """\
{%- set heard = namespace(turns=[]) -%}
{%- for message in messages -%}
  {%- if message.content is defined and message.content and message.content is not string -%}
    {%- set turn = namespace(parts=[]) -%}
    {%- for part in message.content -%}
      {%- if part.type in ['audio', 'audio_url', 'input_audio'] -%}
        {%- set turn.parts = turn.parts + [{'type': 'text', 'text': '<|AUDIO|>'}] -%}
      {%- else -%}
        {%- set turn.parts = turn.parts + [part] -%}
      {%- endif -%}
    {%- endfor -%}
    {%- set heard.turns = heard.turns + [dict(message, content=turn.parts)] -%}
  {%- else -%}
    {%- set heard.turns = heard.turns + [message] -%}
  {%- endif -%}
{%- endfor -%}
{%- set messages = heard.turns -%}
"""


@exporters.register
class Qwen2Audio:
    """``Qwen2AudioForConditionalGeneration`` and ``Qwen2AudioProcessor``."""

    takes: ClassVar[Mapping[str, frozenset[str]]] = {
        "audio encoder": frozenset({TOWER}),
        "layout": frozenset({"audio_mel"}),
        "connector": frozenset({TARGET}),
    }

    @staticmethod
    def write(source: Source, folder: Path, options: ExportOptions) -> list[str]:
        """Write weights, ``config.json``, tokenizer and processor files."""
        layout = _need_parts(source)
        write_tensors(
            folder,
            _weights(source),
            shard_bytes=options.shard_bytes,
        )
        document = {
            "architectures": ["Qwen2AudioForConditionalGeneration"],
            "model_type": TARGET,
            "audio_token_index": _placeholder_id(source),
            "tie_word_embeddings": False,
            "audio_config": read_json(source.folder / "config.json")["audio_config"],
            "text_config": text_config(source, target=TARGET) | {"tie_word_embeddings": False},
        }
        write_json(folder / "config.json", document | shared_options(source))
        write_ruled_text_files(source, folder, processor="Qwen2AudioProcessor")
        _write_placeholder(source, folder)
        notes = need_same_tokens(
            source,
            folder,
            accept=ACCEPT in options.accept,
            renamed={source.config.audio_token_id: _placeholder_id(source)},
        )
        _write_processor(folder, layout)
        notes += [
            f"sounds: the target hears the first {layout.chunk_seconds:g} s of each; longer ones "
            "are several chunks here."
        ]
        if layout.chunk_seconds != _WINDOW_SECONDS:
            notes.append(f"sounds: vLLM opens encoders of {_WINDOW_SECONDS} s only.")
        return notes

    @staticmethod
    def verify(source: Source, folder: Path, options: ExportOptions) -> Verification:
        """Compare with ``Qwen2AudioForConditionalGeneration`` and ``Qwen2AudioProcessor``."""
        layout = _need_parts(source)
        twin = open_strictly(Qwen2AudioForConditionalGeneration, folder)
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        # The last 50 ms are left out, so that the sound has padding behind it.
        wave = random_wave(RATE)[: layout.chunk_samples - RATE // 20]

        def adapt(inputs: dict[str, Any]) -> dict[str, Any]:
            ids = inputs["input_ids"]
            heard = ids == source.config.audio_token_id
            mel = torch.arange(inputs["input_features"].shape[-1])
            return {
                "input_ids": ids.masked_fill(heard, _placeholder_id(source)),
                "attention_mask": inputs["attention_mask"],
                "input_features": inputs["input_features"],
                # Two mel frames to a position of the encoder.
                "feature_attention_mask": (mel < 2 * inputs["feature_lengths"][:, None]).long(),
            }

        def theirs(_: dict[str, Any]) -> dict[str, Any]:
            made = processor(
                text=[PLACE + TEXT],
                audio=[wave],
                sampling_rate=RATE,
                max_length=layout.chunk_samples,
                add_special_tokens=False,
                return_tensors="pt",
            )
            return dict(made.items())

        media = {"audio": [wave]}
        return compare_answers(source, twin, media, text=AUDIO + TEXT, adapt=adapt, theirs=theirs)


def _need_parts(source: Source) -> AudioMel:
    """Return the layout of sounds of a checkpoint that the target can express.

    Raises:
        CheckpointError: it has a part that the target lacks, or lacks one; the message names it.
    """
    config = source.config
    for part, tower in (("vision", config.vision_config), ("video.tower", config.video_config)):
        if tower is not None:
            raise refusal(TARGET, f"model.{part}", tower.model_type, "sound alone")
    if config.joint_connector is not None:
        kind = config.joint_connector["kind"]
        raise refusal(TARGET, "model.joint", kind, "a connector of the audio tower")
    found = config.audio_config.model_type if config.audio_config is not None else "none"
    _need("model.audio.model_type", found, TOWER)
    need_plain_reading(TARGET, "model.audio", config.audio_encoder)
    _need("model.audio.layer", config.audio_encoder["layer"], -1)
    need_connector(TARGET, "model.audio.connector", config.audio_connector, kind=TARGET, norm=False)
    # Two is the connector's default, and one too many behind an encoder that has pooled.
    _need("model.audio.connector.pool", config.audio_connector.get("pool", 2), 1)
    _need("model.language.model_type", config.text_config.model_type, LANGUAGE)
    layout = source.processor.sounds
    assert layout is not None
    if not isinstance(layout, AudioMel):
        raise refusal(TARGET, "model.audio.layout.kind", options_of(layout)["kind"], "audio_mel")
    _need("model.audio.layout.rate", layout.rate, RATE)
    _need("model.audio.layout.trim", layout.trim, True)
    return layout


def _need(part: str, found: object, expected: object) -> None:
    if found != expected:
        raise refusal(TARGET, part, found, str(expected))


def _weights(source: Source) -> list[Entry]:
    """Return every tensor under its name there; the class has a head even if it is the table."""
    entries = rename(source.tensors, NAMES, target=TARGET)
    if tied(source):
        entries.append(source.tensors.entry(_TABLE, renamed="language_model.lm_head.weight"))
    return entries


def _placeholder_id(source: Source) -> int:
    """Return the id of the token that stands for a sound in the target: its own, or ours."""
    own = source.processor.tokenizer.get_vocab().get(PLACE)
    return int(source.config.audio_token_id if own is None else own)


def _write_placeholder(source: Source, folder: Path) -> None:
    """Make tokenizer and chat template write the target's placeholder where ours wrote <audio>."""
    if PLACE not in source.processor.tokenizer.get_vocab():
        tokenizer = read_json(folder / "tokenizer.json")
        for token in tokenizer["added_tokens"]:
            if token["content"] == AUDIO:
                token["content"] = PLACE
        vocabulary = tokenizer["model"]["vocab"]
        if isinstance(vocabulary, dict) and AUDIO in vocabulary:
            vocabulary[PLACE] = vocabulary.pop(AUDIO)
        write_json(folder / "tokenizer.json", tokenizer)
        file = folder / "tokenizer_config.json"
        options = file.read_text(encoding="utf-8").replace(f'"{AUDIO}"', f'"{PLACE}"')
        file.write_text(options, encoding="utf-8")
    file = folder / "chat_template.jinja"
    template = file.read_text(encoding="utf-8")
    if any(template.endswith(read_template(name)) for name in template_names()):
        template = _SOUND_AS_TEXT + template
    else:
        # An imported template, which writes each placeholder literally.
        template = template.replace(AUDIO, PLACE)
    file.write_text(template, encoding="utf-8")


def _write_processor(folder: Path, layout: AudioMel) -> None:
    """Write the options of sounds and of the processor around them, new form and old."""
    seconds = layout.chunk_seconds
    sounds = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": layout.mels,
        "sampling_rate": RATE,
        "hop_length": HOP,
        "n_fft": WINDOW,
        # Whole seconds must be a whole number there: samples are counted by it.
        "chunk_length": int(seconds) if seconds.is_integer() else seconds,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": True,
    }
    own = {
        "processor_class": "Qwen2AudioProcessor",
        "audio_token": PLACE,
        "audio_bos_token": START,
        "audio_eos_token": END,
    }
    write_json(folder / "processor_config.json", own | {"feature_extractor": sounds})
    write_json(
        folder / "preprocessor_config.json", sounds | {"processor_class": own["processor_class"]}
    )
