"""What both forms of Ovis 2 share: the visual table, its marks, and the tower's configuration.

The last five rows of the table mark tiles. They are the arrangement ``tile_marks``; the words
before them are the connector ``visual_vocab``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.language import config_options
from hocket.checkpoint.import_.projector import TARGET
from hocket.checkpoint.import_.table import Move, Rule, Split
from hocket.model.spec import Options, PartSpec
from hocket.tokens.layout.image_covering import MARKS

AIMV2 = "aimv2_vision_model"
NO_VIDEOS = "videos: not taken, since their frames are pictures with line ends between them"
_TOKENIZE = {
    "softmax": "softmax",
    "gumbel_argmax": "gumbel",
    "st_argmax": "straight_through",
}


def vocab_part(document: Mapping[str, Any], *, vocab: int = 16384) -> PartSpec:
    """Return the connector of a visual tokenizer's configuration.

    Args:
        document: the configuration.
        vocab: words of the visual table where the configuration does not say, marks included.

    Raises:
        CheckpointError: its marks or its way to choose words have no counterpart.
    """
    kind = str(document.get("tokenize_function", "softmax"))
    if kind not in _TOKENIZE:
        raise CheckpointError(
            f"tokenize_function is {kind!r}, expected one of {', '.join(_TOKENIZE)}. "
            "This importer cannot open it."
        )
    marks = int(document.get("num_visual_indicator_tokens", MARKS))
    if marks != MARKS:
        raise CheckpointError(
            f"num_visual_indicator_tokens is {marks}, expected {MARKS}: begin, end of the whole "
            "picture, between columns, between lines, end. This importer cannot open it."
        )
    options: Options = {
        "vocab": int(document.get("vocab_size", vocab)) - MARKS,
        "indicators": 0,
        "marks": False,
        "tokenize": _TOKENIZE[kind],
        "tau": float(document.get("tau", 1.0)),
        "stride": int(document.get("hidden_stride", 1)),
    }
    return PartSpec(kind="visual_vocab", options=options)


def aimv2_options(document: Mapping[str, Any]) -> Options:
    """Return the options of an AIMv2 without its pooling head.

    Args:
        document: its configuration, in Ovis's, Apple's or transformers' form.

    Raises:
        CheckpointError: transformers refuses the values, or its layers have no counterpart.
    """
    own = dict(document) | {"use_head": False, "is_native": False}
    if "use_bias" in own:
        own["mlp_bias"] = bool(own.pop("use_bias"))
        if own["mlp_bias"] != bool(own.get("qkv_bias", False)):
            raise CheckpointError(
                f"the tower's use_bias is {own['mlp_bias']} and its qkv_bias is not, but "
                "transformers' AIMv2 has one bias for attention. It cannot be imported."
            )
    return config_options(own, AIMV2)


def table_rule(source: str) -> Rule:
    """Return the rule of the visual table, whose name is that pattern."""
    return Split(source, (f"{TARGET}.table.weight", "model.image_arrange.marks"))


def aimv2_rules(source: str) -> tuple[Rule, ...]:
    """Return the rules from Apple's names of an AIMv2, behind a prefix pattern, to transformers'.

    Its matrices for queries, keys and values are one tensor there.
    """
    target = "model.vision_tower"
    block, layer = rf"{source}trunk\.blocks\.(\d+)\.", rf"{target}.encoder.layers.\1"
    patches, attention = rf"{source}preprocessor\.patchifier\.", rf"{layer}.attention"
    embeddings = f"{target}.embeddings"
    qkv = tuple(rf"{attention}.{one}_proj.\2" for one in "qkv")
    feed = {"fc1": "gate_proj", "fc2": "down_proj", "fc3": "up_proj"}
    return (
        Move(rf"{patches}proj\.(weight|bias)", rf"{embeddings}.patch_embed.\1"),
        Move(rf"{patches}norm\.weight", f"{embeddings}.rms_norm.weight"),
        # A batch of one there.
        Move(
            rf"{source}preprocessor\.pos_embed",
            f"{embeddings}.position_embedding.weight",
            reshape=True,
        ),
        Move(rf"{source}trunk\.post_trunk_norm\.weight", f"{target}.rms_norm.weight"),
        Move(rf"{block}norm_([12])\.weight", rf"{layer}.rms_norm\2.weight"),
        Split(rf"{block}attn\.qkv\.(weight|bias)", qkv),
        Move(rf"{block}attn\.proj\.(weight|bias)", rf"{attention}.out_proj.\2"),
        *(
            Move(rf"{block}mlp\.{theirs}\.(weight|bias)", rf"{layer}.ffn.{ours}.\2")
            for theirs, ours in feed.items()
        ),
    )
