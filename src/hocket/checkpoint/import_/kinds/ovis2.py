"""Ovis 2 and Ovis 1.6: AIMv2, SigLIP or CLIP, a visual vocabulary, marks around the tiles.

Everything is in one folder. The number of tiles is no part of the checkpoint: it is the default of
the original's ``preprocess_inputs``; frames of a video are pictures of one tile on lines of their
own, as its model card shows them. The tower is read before its last norm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.description import Description
from hocket.checkpoint.import_.keys_navit import vocab_rules
from hocket.checkpoint.import_.kinds import importers
from hocket.checkpoint.import_.language import (
    choose_template,
    language_rules,
    language_spec,
    open_tokenizer,
    read_dtype,
    table_rows,
)
from hocket.checkpoint.import_.origin import Origin
from hocket.checkpoint.import_.ovis2_parts import (
    AIMV2,
    aimv2_options,
    aimv2_rules,
    table_rule,
    vocab_part,
)
from hocket.checkpoint.import_.pictures import image_document, missing_note, pixel_options
from hocket.checkpoint.import_.projector import TARGET
from hocket.checkpoint.import_.table import COMPUTED, Rule
from hocket.checkpoint.import_.tower import CLASS_TOKENS, tower_config, tower_rules
from hocket.checkpoint.import_.weights import Weights, open_weights
from hocket.model.build import describe
from hocket.model.spec import (
    ModelSpec,
    Options,
    PartSpec,
    TokenizerSpec,
    TowerSpec,
    VideoSpec,
)

_MOST_TILES = 9
_FRAMES = 12
_BACKBONE = r"visual_tokenizer\.backbone\."
_TABLE, _HEAD = "llm.model.embed_tokens.weight", "llm.lm_head.weight"
# The original's formatter -> chat template and the token that ends an answer.
_FORMATTERS = {
    "QwenConversationFormatter": ("ovis2_qwen", "<|im_end|>"),
    "Llama3ConversationFormatter": ("ovis2_llama3", "<|eot_id|>"),
    "GemmaConversationFormatter": ("ovis2_gemma", "<end_of_turn>"),
}


@importers.register
class Ovis2:
    """Reads the checkpoints of Ovis 2 and Ovis 1.6."""

    @staticmethod
    def detect(origin: Origin) -> bool:
        """Say whether config.json describes Ovis 2's visual tokenizer."""
        return origin.has("llm_config", "visual_tokenizer_config")

    @staticmethod
    def describe(origin: Origin) -> Description:
        """Return the checkpoint in Hocket's terms.

        Raises:
            CheckpointError: a file is missing, or an option has no counterpart.
        """
        weights = open_weights(origin.folder)
        tokenizer = open_tokenizer(origin.folder)
        formatter = str(origin.config.get("conversation_formatter_class", ""))
        if formatter not in _FORMATTERS and not origin.template:
            raise CheckpointError(
                f"conversation_formatter_class is {formatter!r}, expected one of "
                f"{', '.join(_FORMATTERS)}. "
                "Name the chat template of this checkpoint with --template NAME."
            )
        own, end = _FORMATTERS.get(formatter, ("", ""))
        template, why = choose_template(origin, tokenizer, {}, own)
        document = image_document(origin.folder)
        vision = _vision(origin, document)
        language = _language(origin, weights)
        spec = ModelSpec(
            language=language_spec(
                language,
                str(language.get("model_type", "")),
                rows=table_rows(weights, _TABLE),
                tokenizer=tokenizer,
            ),
            vision=vision,
            video=VideoSpec(
                sampler="mid_segment",
                options={"min_frames": 1, "max_frames": _FRAMES, "edges": "exact"},
            ),
            tokenizer=TokenizerSpec(template=template),
            init="transformers",
        )
        described = describe(spec, tokenizer=tokenizer)
        described.config.dtype = read_dtype(str(origin.config.get("torch_dtype") or "float32"))
        return Description(
            config=described.config,
            processor=described.processor,
            weights=weights,
            rules=(
                *COMPUTED,
                *_tower_rules(vision.model_type),
                table_rule(r"vte\.weight"),
                *vocab_rules(target=f"{TARGET}."),
                *language_rules(r"llm\."),
            ),
            notes=(
                why,
                *missing_note(document),
                f"pictures: the whole and up to {_MOST_TILES} tiles, what Ovis takes unless told",
                f"videos: up to {_FRAMES} frames, the middles of as many segments, a line each",
            ),
            stops=(end,) if end in tokenizer.get_vocab() else (),
        )


def _language(origin: Origin, weights: Weights) -> Mapping[str, Any]:
    """Return the language model's configuration, untied where the head has numbers of its own."""
    document = origin.section("llm_config")
    apart = origin.config.get("disable_tie_weight", False) and _HEAD in weights
    return {**document, "tie_word_embeddings": False} if apart else document


def _vision(origin: Origin, document: Mapping[str, Any]) -> TowerSpec:
    tokenizer = origin.section("visual_tokenizer_config")
    if booster := tokenizer.get("hd_booster"):
        raise CheckpointError(
            f"visual_tokenizer_config.hd_booster is {booster!r}, which Ovis 1.5 had, expected "
            "none. This importer cannot open it."
        )
    model_type, options = _tower(tokenizer.get("backbone_config") or {})
    config = CONFIG_MAPPING[model_type](**options)
    _check_size(document, model_type, int(config.image_size))
    drop = int(bool(tokenizer.get("drop_cls_token", False)))
    leading = CLASS_TOKENS.get(model_type, 0)
    if drop != leading:
        raise CheckpointError(
            f"drop_cls_token is {bool(drop)} on a {model_type!r}: what is left is no grid of "
            f"patches. Expected {bool(leading)} there."
        )
    tiles: Options = {"max_tiles": _MOST_TILES, "frame_between": ["\n"]}
    layout = pixel_options(document, model_type) | tiles
    return TowerSpec(
        model_type=model_type,
        config=options,
        # What comes out of the last layer, before the norm behind it.
        layer=int(config.num_hidden_layers),
        drop=drop,
        layout=PartSpec(kind="image_covering", options=dict(layout)),
        connector=vocab_part(tokenizer),
        arrange=PartSpec(kind="tile_marks"),
    )


def _tower(document: Mapping[str, Any]) -> tuple[str, Options]:
    """Return the model type and the options of ``backbone_config``.

    Raises:
        CheckpointError: it is none of Ovis 2's towers.
    """
    if document.get("model_type") in ("aimv2", AIMV2):
        return AIMV2, aimv2_options(document)
    known = ("siglip_vision_model", "clip_vision_model")
    if document.get("model_type") not in known:
        raise CheckpointError(
            f"backbone_config.model_type is {document.get('model_type')!r}, expected aimv2, "
            f"{' or '.join(known)}. This importer cannot open it."
        )
    return tower_config(document)


def _check_size(document: Mapping[str, Any], model_type: str, size: int) -> None:
    """Check the side of a tile, which Ovis takes from ``crop_size``, or ``size`` for SigLIP.

    Raises:
        CheckpointError: it is not the tower's.
    """
    key = "size" if model_type == "siglip_vision_model" else "crop_size"
    found = document.get(key, {"height": size, "width": size})
    sides = set(found.values()) if isinstance(found, dict) else {found}
    if sides != {size}:
        raise CheckpointError(
            f"the image processor's {key} is {found}, but the vision tower takes {size} pixels. "
            "This importer cannot open it."
        )


def _tower_rules(model_type: str) -> tuple[Rule, ...]:
    return aimv2_rules(_BACKBONE) if model_type == AIMV2 else tower_rules(_BACKBONE)
