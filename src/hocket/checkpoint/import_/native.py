"""Checkpoints of transformers' own multimodal classes: what LLaVA, InternVL and others there share.

Their weights have one set of names since transformers 4.52 (``model.language_model.*``,
``lm_head``) and another before it (``language_model.model.*``, ``language_model.lm_head``), which
transformers 5 writes again; both are read. The configuration is resolved by the class of
transformers that it names, since its files leave out what is default there.

Placeholders of their chat templates, such as ``<IMG_CONTEXT>``, become those of Hocket.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from hocket._errors import CheckpointError
from hocket.chat.template import read_template, template_names
from hocket.checkpoint.export import RULED
from hocket.checkpoint.import_.description import Description
from hocket.checkpoint.import_.language import (
    choose_template,
    language_spec,
    open_tokenizer,
    read_dtype,
    table_rows,
)
from hocket.checkpoint.import_.origin import Origin
from hocket.checkpoint.import_.table import COMPUTED, Move, Rows, Rule
from hocket.checkpoint.import_.weights import Weights, open_weights
from hocket.checkpoint.tools.tensors import read_json
from hocket.model.build import describe
from hocket.model.spec import LanguageSpec, ModelSpec, TokenizerSpec, TowerSpec, VideoSpec
from hocket.tokens.tokenizer import ensure_control_tokens

PROJECTOR = r"(?:model\.)?multi_modal_projector\."
VISION = r"(?:model\.)?vision_tower\."
AUDIO = r"(?:model\.)?audio_tower\."
_INNER = r"(?:language_model\.model|model\.language_model)\."
_HEAD = r"(?:language_model\.)?lm_head\.weight"
_HEADS = ("lm_head.weight", "language_model.lm_head.weight")
_TABLES = ("model.language_model.embed_tokens.weight", "language_model.model.embed_tokens.weight")
_TEMPLATES = {"<|im_start|>": "chatml", "<|start_header_id|>": "llama_3"}
# Stands in until the folder's own template replaces it.
_ANY = "chatml"


@dataclass(frozen=True, slots=True)
class Native:
    """A checkpoint of a class of transformers.

    Attributes:
        origin: the folder.
        config: its configuration, resolved by transformers.
        weights: its tensors.
        tokenizer: its tokenizer with Hocket's placeholders.
    """

    origin: Origin
    config: Any
    weights: Weights
    tokenizer: PreTrainedTokenizerFast

    def token(self, key: str) -> str | None:
        """Return the text of the token whose id `config` holds under a key, if there is one."""
        index = vars(self.config).get(key)
        if index is None or not 0 <= index < len(self.tokenizer):
            return None
        return str(self.tokenizer.convert_ids_to_tokens(index))

    def part(self, key: str) -> dict[str, Any]:
        """Return a nested configuration with all its values."""
        return dict(vars(self.config)[key].to_dict())


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """The parts beside the language model.

    Attributes:
        vision: the vision tower.
        audio: the audio tower.
        video: how frames are chosen.
        rules: where the tensors of both go.
        places: placeholder in the checkpoint's chat template -> what takes its place here.
        notes: what was decided.
    """

    vision: TowerSpec | None = None
    audio: TowerSpec | None = None
    video: VideoSpec | None = None
    rules: tuple[Rule, ...] = ()
    places: Mapping[str, str]
    notes: tuple[str, ...] = ()


def is_native(origin: Origin, model_type: str) -> bool:
    """Say whether config.json is that of a class of transformers, and not of LLaVA's own code."""
    return origin.config.get("model_type") == model_type and not origin.has("mm_vision_tower")


def open_native(origin: Origin) -> Native:
    """Open everything but the numbers.

    Raises:
        CheckpointError: a file is missing, or transformers refuses the configuration.
    """
    model_type = str(origin.need("model_type"))
    try:
        config = CONFIG_MAPPING[model_type].from_dict(copy.deepcopy(dict(origin.config)))
    except (StrictDataclassError, TypeError, ValueError, KeyError, AttributeError) as error:
        reason = str(error).strip().splitlines()[-1].strip().rstrip(".")
        raise CheckpointError(
            f"{origin.folder / 'config.json'} is no {model_type!r}: {reason}."
        ) from error
    return Native(origin, config, open_weights(origin.folder), _tokenizer(origin.folder))


def describe_native(native: Native, media: Media) -> Description:
    """Return a checkpoint in Hocket's terms.

    Raises:
        CheckpointError: an option has no counterpart, or the token table is missing.
    """
    folder, tokenizer = native.origin.folder, native.tokenizer
    name, text, why = native_template(native, media.places)
    spec = ModelSpec(
        language=_language(native),
        vision=media.vision,
        audio=media.audio,
        video=media.video,
        tokenizer=TokenizerSpec(template=name),
        init="transformers",
    )
    # The class's processor writes the start token once, whatever the template does.
    starts = tokenizer.bos_token is not None and _adds_start(tokenizer)
    text_rules = {"start_tokens": 1} if starts else None
    described = describe(spec, tokenizer=tokenizer, text_rules=text_rules)
    if text is not None:
        described.processor.chat_template = text
    described.config.dtype = read_dtype(_dtype(native))
    return Description(
        config=described.config,
        processor=described.processor,
        weights=native.weights,
        rules=(*media.rules, *COMPUTED, *_language_rules()),
        notes=(why, *media.notes),
        stops=_stops(folder, tokenizer),
    )


def native_template(native: Native, places: Mapping[str, str]) -> tuple[str, str | None, str]:
    """Return a chat template as (name, the checkpoint's own text or None, why).

    Args:
        native: the checkpoint.
        places: placeholder in its template -> what takes its place here.
    """
    own = None if native.origin.template else _own_template(native)
    if own is None:
        last = "mistral_instruct" if native.config.text_config.model_type == "mistral" else "v1"
        name, why = choose_template(native.origin, native.tokenizer, _TEMPLATES, last)
        return name, None, why
    for name in template_names():
        # An export of ours, which puts a translation of other names of parts in front.
        if own.endswith(read_template(name)) and RULED.strip() not in own:
            return name, None, f"chat template {name}, which is the checkpoint's own"
    for theirs, ours in places.items():
        own = own.replace(theirs, ours)
    why = "chat template: the checkpoint's own"
    if "generation %}" not in own and "generation -%}" not in own:
        why += ", which does not mark what is learned; name another with --template to train"
    return _ANY, own, why


def read_gelu(native: Native) -> None:
    """Check that the projector is Hocket's.

    Raises:
        CheckpointError: its activation is another.
    """
    act = native.config.projector_hidden_act
    if act != "gelu":
        raise CheckpointError(
            f"projector_hidden_act is {act!r}, expected 'gelu'. This importer cannot open it."
        )


def _language(native: Native) -> LanguageSpec:
    table = next((name for name in _TABLES if name in native.weights), _TABLES[0])
    document = native.part("text_config")
    headless = not any(name in native.weights for name in _HEADS)
    # The whole model decides, not its language model; a head of its own is never thrown away.
    document["tie_word_embeddings"] = headless or bool(
        vars(native.config).get("tie_word_embeddings")
    )
    return language_spec(
        document,
        str(document["model_type"]),
        rows=table_rows(native.weights, table),
        tokenizer=native.tokenizer,
    )


def _language_rules() -> tuple[Rule, ...]:
    inner = "model.language_model"
    return (
        Move(rf"{_INNER}embed_tokens\.weight", f"{inner}.embed_tokens.weight", Rows.MEAN),
        Move(_HEAD, "lm_head.weight", Rows.MEAN),
        Move(rf"{_INNER}(.+)", rf"{inner}.\1"),
    )


def _tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Open the tokenizer; the classes' processors take the fast one where there are two."""
    if not (folder / "tokenizer.json").is_file():
        return open_tokenizer(folder)
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder / 'tokenizer.json'} cannot be opened. Copy it again."
        ) from error
    ensure_control_tokens(tokenizer)
    return tokenizer


def _adds_start(tokenizer: PreTrainedTokenizerFast) -> bool:
    ids = tokenizer("x")["input_ids"]
    return bool(ids and ids[0] == tokenizer.bos_token_id)


def _own_template(native: Native) -> str | None:
    folder = native.origin.folder
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text("utf-8")
    for file in (folder / "chat_template.json", folder / "processor_config.json"):
        found = read_json(file).get("chat_template") if file.is_file() else None
        if isinstance(found, str):
            return found
    found = native.tokenizer.chat_template
    return found if isinstance(found, str) else None


def _dtype(native: Native) -> str:
    config = native.origin.config
    nested = config.get("text_config") or {}
    for document in (config, nested):
        for key in ("dtype", "torch_dtype"):
            if document.get(key):
                return str(document[key])
    return "float32"


def _stops(folder: Path, tokenizer: PreTrainedTokenizerFast) -> tuple[str, ...]:
    file = folder / "generation_config.json"
    found = read_json(file).get("eos_token_id") if file.is_file() else None
    ids = found if isinstance(found, list) else [] if found is None else [found]
    known = [index for index in ids if 0 <= index < len(tokenizer)]
    return tuple(str(one) for one in tokenizer.convert_ids_to_tokens(known))
