"""Names and options of InternViT, as the towers of VITA and VILA keep it.

The tower is transformers' ``internvl_vision``: the fused projection becomes three, and there is no
final norm. VILA's copy of the code names no kind of norm, because it has only the root mean square.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.table import Move, Rule, Split

MODEL_TYPE = "internvl_vision"
_SAME = (
    "attention_dropout",
    "hidden_act",
    "hidden_size",
    "image_size",
    "initializer_range",
    "intermediate_size",
    "layer_norm_eps",
    "num_attention_heads",
    "num_channels",
    "num_hidden_layers",
    "patch_size",
)
_NORMS = ("layer_norm", "rms_norm")
_LAYER = {
    r"attn\.([qk])_norm\.weight": r"attention.\2_norm.weight",
    r"attn\.proj\.(weight|bias)": r"attention.projection_layer.\2",
    r"ls([12])": r"lambda_\2",
    r"norm1\.(weight|bias)": r"layernorm_before.\2",
    r"norm2\.(weight|bias)": r"layernorm_after.\2",
    r"mlp\.fc([12])\.(weight|bias)": r"mlp.fc\2.\3",
}


def internvit_options(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of an ``internvl_vision`` configuration.

    Args:
        document: InternViT's ``config.json``.

    Raises:
        CheckpointError: its kind of norm is unknown.
    """
    norm = document.get("norm_type", "rms_norm")
    if norm not in _NORMS:
        raise CheckpointError(
            f"InternViT's config.json: norm_type is {norm!r}, expected one of {', '.join(_NORMS)}."
        )
    return {key: document[key] for key in _SAME if key in document} | {
        "attention_bias": bool(document.get("qkv_bias", False)),
        "use_qk_norm": bool(document.get("qk_normalization", True)),
        "norm_type": norm,
        "use_mean_pooling": True,
    }


def internvit_rules(*, source: str = "", target: str = "") -> tuple[Rule, ...]:
    """Return the rules from InternViT's names to an ``internvl_vision`` tower.

    Args:
        source: pattern of the prefix of the source's names.
        target: prefix of the tower's names.
    """
    embeddings, layer = source + r"embeddings\.", source + r"encoder\.layers\.(\d+)\."
    own = rf"{target}encoder.layer.\1."
    fused = tuple(rf"{own}attention.{one}_proj.\2" for one in "qkv")
    patch = rf"{target}embeddings.patch_embeddings.projection.\1"
    return (
        Move(embeddings + "class_embedding", f"{target}embeddings.cls_token", reshape=True),
        Move(
            embeddings + "position_embedding",
            f"{target}embeddings.position_embeddings",
            reshape=True,
        ),
        Move(embeddings + r"patch_embedding\.(weight|bias)", patch),
        Split(layer + r"attn\.qkv\.(weight|bias)", fused),
        *(Move(layer + old, own + new) for old, new in _LAYER.items()),
    )
