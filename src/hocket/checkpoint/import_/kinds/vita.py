"""VITA 1.5 and 1.0: a language model with eyes and ears in one file, options in folders beside it.

==========================  =======================================================================
what lies in the folder     what is imported
==========================  =======================================================================
weights                     they; of the towers' folders only what they lack, and the options
mm_projector.bin            the base model, the projector and the towers of their folders
audio_adpter.bin            the same for the audio adapter
==========================  =======================================================================

Pictures become tiles with the whole as the last one, frames of a video one tile each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.description import Description
from hocket.checkpoint.import_.experts import fuse_experts
from hocket.checkpoint.import_.kinds import importers
from hocket.checkpoint.import_.language import (
    choose_template,
    has_tokenizer,
    language_rules,
    language_spec,
    open_tokenizer,
    read_dtype,
    start_tokens,
    table_rows,
)
from hocket.checkpoint.import_.origin import Origin
from hocket.checkpoint.import_.table import COMPUTED, Skip
from hocket.checkpoint.import_.vita_audio import vita_audio
from hocket.checkpoint.import_.vita_projector import vita_part, vita_projector_rules
from hocket.checkpoint.import_.vita_tower import VitaTower, vita_tower
from hocket.checkpoint.import_.weights import Weights, has_weights, open_file, open_weights
from hocket.model.build import describe
from hocket.model.spec import ModelSpec, Options, TokenizerSpec, VideoSpec
from hocket.tokens.layout.image_frame_cat import JOINED

TABLE = "model.embed_tokens.weight"


class Family(NamedTuple):
    """A language model of VITA's and the chat template that it was trained with."""

    model_type: str
    template: str


_FAMILIES = {
    "vita-qwen2": Family("qwen2", "qwen2p5_instruct"),
    "vita-fo-qwen2": Family("qwen2", "qwen2p5_instruct"),
    "vita-mixtral": Family("mixtral", "mixtral_two"),
    "vita-nemo": Family("mistral", "nemo"),
}
# The original's scripts; no checkpoint says it.
_TILES: Options = {"min_tiles": 1, "max_tiles": 12, "overview": "last"}
# Channels of a tile behind InternViT, for each of the tower's.
_FOLD = 4
_VIDEO: Options = {"rule": "stride", "rate": 1.0, "max_frames": 16, "min_frames": 4}
# The original ends an answer where another turn begins, too.
_STOPS = ("<|im_end|>", "<|im_start|>")
_ADAPTERS = ("mm_projector", "audio_adpter")


@importers.register
class Vita:
    """Reads the checkpoints of VITA."""

    @staticmethod
    def detect(origin: Origin) -> bool:
        """Say whether config.json is of one of VITA's types, with an audio encoder."""
        return origin.has("mm_vision_tower", "mm_audio_encoder", "mm_projector_type")

    @staticmethod
    def describe(origin: Origin) -> Description:
        """Return the checkpoint in Hocket's terms.

        Raises:
            CheckpointError: a file or folder is missing, or an option has no counterpart.
        """
        config = origin.config
        family = _family(config)
        own, home, found = _find_weights(origin)
        projector = str(origin.need("mm_projector_type"))
        tiles = _TILES | ({"fit": "pad"} if config.get("image_aspect_ratio") == "pad" else {})
        eyes = vita_tower(origin, own, tiles)
        _refuse_joined_tiles(config, eyes)
        ears = vita_audio(origin, eyes.weights)
        tokenizer = open_tokenizer(home)
        template, why = choose_template(origin, tokenizer, {}, family.template)
        spec = ModelSpec(
            language=replace(
                language_spec(
                    config, family.model_type, rows=table_rows(own, TABLE), tokenizer=tokenizer
                ),
                shared_positions=int(config.get("shared_v_pid_stride") or 1),
            ),
            vision=replace(eyes.spec, connector=vita_part(projector, folded=eyes.folded)),
            audio=ears.spec,
            video=VideoSpec(sampler="at_fps", options=dict(_VIDEO)),
            tokenizer=TokenizerSpec(template=template),
            init="transformers",
        )
        rules = {"chunked": True, "start_tokens": start_tokens(home, tokenizer, template)}
        described = describe(spec, tokenizer=tokenizer, text_rules=rules)
        described.config.dtype = read_dtype(str(config.get("torch_dtype", "float32")))
        return Description(
            config=described.config,
            processor=described.processor,
            weights=ears.weights,
            rules=(
                *COMPUTED,
                *eyes.rules,
                *ears.rules,
                *vita_projector_rules(projector, r"model\.mm_projector", folded=eyes.folded),
                Skip(r"predictor_head\..+", "it tells when to answer, and writes no text"),
                *language_rules(),
            ),
            notes=(
                *found,
                why,
                eyes.note,
                ears.note,
                "pictures: 1 to 12 tiles and the whole; videos: a frame a second, 4 to 16",
            ),
            stops=tuple(token for token in _STOPS if token in tokenizer.get_vocab()),
        )


def _family(config: Mapping[str, Any]) -> Family:
    """Return the language model and template of ``model_type``.

    Raises:
        CheckpointError: it is none of VITA's.
    """
    model_type = str(config.get("model_type", ""))
    if model_type.lower() not in _FAMILIES:
        raise CheckpointError(
            f"model_type is {model_type!r}, expected one of {', '.join(_FAMILIES)}. "
            "This importer cannot open it."
        )
    return _FAMILIES[model_type.lower()]


def _refuse_joined_tiles(config: Mapping[str, Any], eyes: VitaTower) -> None:
    """Refuse the variant ``frameCat``, which joins five tiles on their channels.

    Raises:
        CheckpointError: the projector takes five times the width of the features.
    """
    width = int(str(eyes.spec.config.get("hidden_size", 0))) * (_FOLD if eyes.folded else 1)
    found = int(config.get("mm_hidden_size") or 0)
    if width and found == JOINED * width:
        raise CheckpointError(
            f"mm_hidden_size is {found}, five times the {width} of the vision tower: VITA's "
            "frameCat, whose way with videos is not known. Build it from the layout "
            "image_frame_cat and the arrangement frame_cat; this importer cannot open it."
        )


def _find_weights(origin: Origin) -> tuple[Weights, Path, tuple[str, ...]]:
    """Return the tensors of a checkpoint or of its base model, the tokenizer's folder, and notes.

    Raises:
        CheckpointError: there are no weights, or the base model is missing.
    """
    folder = origin.folder
    if has_weights(folder):
        return fuse_experts(open_weights(folder)), folder, ()
    weights, base, notes = _adapted(origin)
    return fuse_experts(weights), folder if has_tokenizer(folder) else base, notes


def _adapted(origin: Origin) -> tuple[Weights, Path, tuple[str, ...]]:
    """Return the base model with the adapters of a folder in their place."""
    folder = origin.folder.absolute()
    files = [
        file
        for name in _ADAPTERS
        for file in (folder / f"{name}.bin", folder.parent / name / f"{folder.name}.bin")
        if file.is_file()
    ]
    if not files:
        raise CheckpointError(
            f"{origin.folder} holds no weights: no *.safetensors, no pytorch_model*.bin, and no "
            f"{' or '.join(f'{name}.bin' for name in _ADAPTERS)}. Copy the checkpoint again."
        )
    base = origin.base or origin.find(str(origin.config.get("_name_or_path", "")), "base model")
    weights = open_weights(base)
    for file in files:
        adapter = open_file(file).renamed(
            lambda name: re.sub(r"^.*?(?=mm_projector\.|audio_encoder\.)", "model.", name)
        )
        weights = adapter.over(weights)
    named = " and ".join(str(file) for file in files)
    return weights, base, (f"base model {base}, adapters {named}",)
