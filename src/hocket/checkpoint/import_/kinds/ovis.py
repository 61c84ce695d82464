"""Ovis 2.5: a vision tower at native resolution, a visual vocabulary, and Qwen 3.

Everything is in one folder. Neither the budgets of pixels nor the number of frames are part of the
checkpoint: they are those of the original's ``preprocess_inputs`` and ``read_video``.
"""

from __future__ import annotations

from typing import Any

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.description import Description
from hocket.checkpoint.import_.keys_navit import navit_rules, vocab_rules
from hocket.checkpoint.import_.kinds import importers
from hocket.checkpoint.import_.language import (
    choose_template,
    config_options,
    language_rules,
    language_spec,
    open_tokenizer,
    read_dtype,
    table_rows,
)
from hocket.checkpoint.import_.origin import Origin
from hocket.checkpoint.import_.table import COMPUTED
from hocket.checkpoint.import_.tower import layout_options
from hocket.checkpoint.import_.weights import open_weights
from hocket.model.build import describe
from hocket.model.spec import ModelSpec, PartSpec, TokenizerSpec, TowerSpec, VideoSpec
from hocket.parts.vision import vision_encoders

_TOWER = "siglip2_navit"
_FORMATTER = "Qwen3ConversationFormatter"
_END = "<|im_end|>"
# Begin and end of pictures and of videos: the last words of the visual vocabulary.
_MARKS = 4
_LEAST_PIXELS = 448 * 448
_MOST_PIXELS = 1792 * 1344
_FRAMES = 8


@importers.register
class Ovis:
    """Reads the checkpoints of Ovis 2.5."""

    @staticmethod
    def detect(origin: Origin) -> bool:
        """Say whether config.json describes a visual vocabulary over a tower of its own."""
        return origin.has("llm_config", "vit_config", "visual_vocab_size")

    @staticmethod
    def describe(origin: Origin) -> Description:
        """Return the checkpoint in Hocket's terms.

        Raises:
            CheckpointError: a file is missing, or an option has no counterpart.
        """
        config = origin.config
        weights = open_weights(origin.folder)
        tokenizer = open_tokenizer(origin.folder)
        formatter = config.get("conversation_formatter_class", _FORMATTER)
        if formatter != _FORMATTER and not origin.template:
            raise CheckpointError(
                f"conversation_formatter_class is {formatter!r}, expected {_FORMATTER!r}. "
                "Name the chat template of this checkpoint with --template NAME."
            )
        template, why = choose_template(origin, tokenizer, {}, "ovis2_5")
        language = origin.section("llm_config")
        spec = ModelSpec(
            language=language_spec(
                language,
                str(language.get("model_type", "")),
                rows=table_rows(weights, "llm.model.embed_tokens.weight"),
                tokenizer=tokenizer,
            ),
            vision=_vision(origin),
            video=VideoSpec(
                sampler="mid_segment", options={"min_frames": _FRAMES, "max_frames": _FRAMES}
            ),
            tokenizer=TokenizerSpec(template=template),
            init="transformers",
        )
        described = describe(spec, tokenizer=tokenizer)
        dtype = config.get("torch_dtype") or config.get("dtype") or "float32"
        described.config.dtype = read_dtype(str(dtype))
        return Description(
            config=described.config,
            processor=described.processor,
            weights=weights,
            rules=(
                *COMPUTED,
                *navit_rules(target="model.vision_tower."),
                *vocab_rules(target="model.multi_modal_projector."),
                *language_rules(r"llm\."),
            ),
            notes=(
                why,
                f"pictures and frames: {_LEAST_PIXELS} to {_MOST_PIXELS} pixels each, what Ovis "
                "takes for an answer; its training takes less where there are several",
                f"videos: {_FRAMES} frames, the middles of as many segments",
            ),
            stops=(_END,) if _END in tokenizer.get_vocab() else (),
        )


def _vision(origin: Origin) -> TowerSpec:
    document = origin.section("vit_config")
    if document.get("model_type") != _TOWER:
        raise CheckpointError(
            f"vit_config.model_type is {document.get('model_type')!r}, expected {_TOWER!r}. "
            "This importer cannot open it."
        )
    vision_encoders.get(_TOWER)  # makes its configuration known
    options = config_options(document, _TOWER)
    budgets: dict[str, Any] = {
        f"{whose}{end}_pixels": pixels
        for whose in ("", "several_", "video_")
        for end, pixels in (("min", _LEAST_PIXELS), ("max", _MOST_PIXELS))
    }
    vocab = {
        "vocab": int(origin.need("visual_vocab_size")),
        "indicators": _MARKS,
        # The tower's cells are the squares that become one row.
        "stride": int(document.get("hidden_stride", 2)),
    }
    return TowerSpec(
        model_type=_TOWER,
        config=options,
        layout=PartSpec(
            kind="image_native", options=layout_options(origin.folder, "image_native", **budgets)
        ),
        connector=PartSpec(kind="visual_vocab", options=dict(vocab)),
    )
