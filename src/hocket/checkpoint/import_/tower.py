"""Encoders of foreign checkpoints, from the folder that their configuration names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.language import config_options
from hocket.checkpoint.import_.table import Move, Rule, Skip
from hocket.checkpoint.tools.tensors import read_json
from hocket.model.pretrained import read_preprocessing
from hocket.model.spec import Options
from hocket.tokens.layout import layouts

# Leading positions that show no patch.
CLASS_TOKENS = {
    "clip_vision_model": 1,
    "siglip_vision_model": 0,
    "internvl_vision": 1,
    "eva_clip": 1,
    "siglip2_navit": 0,
}


def tower_config(document: Mapping[str, Any]) -> tuple[str, Options]:
    """Return the model type and the options of an encoder's ``config.json``.

    A model of two halves, such as CLIP with its text half, gives its vision half.

    Raises:
        CheckpointError: transformers does not know the type.
    """
    model_type = str(document.get("model_type", ""))
    nested = document.get("vision_config")
    if isinstance(nested, dict):
        model_type, document = f"{model_type}_vision_model", nested
    return model_type, config_options(document, model_type)


def read_tower(folder: Path) -> tuple[str, Options]:
    """Return `tower_config` of a folder.

    Raises:
        CheckpointError: it has no ``config.json``, or transformers does not know the type.
    """
    return tower_config(read_json(folder / "config.json"))


def layout_options(folder: Path, kind: str, **more: Any) -> Options:
    """Return the options of a layout that a folder's ``preprocessor_config.json`` decides.

    Args:
        folder: the encoder's folder.
        kind: the layout.
        **more: options that count before those of the file.
    """
    return read_preprocessing(str(folder), layouts.get(kind)) | more


def line_of_positions(model_type: str, feature: str) -> int | None:
    """Return the option ``leading`` of the kind ``hf`` where what is selected is no grid.

    The originals' ``cls_patch`` keeps all positions, so that CLIP's class token stays in front, and
    ``patch`` drops the first one, which is a patch of SigLIP. None means the patches as a grid.

    Args:
        model_type: the encoder's.
        feature: ``patch`` or ``cls_patch``.
    """
    leading = CLASS_TOKENS.get(model_type, 0)
    if feature == "cls_patch" and leading:
        return leading
    return -1 if feature == "patch" and not leading else None


def dropped_positions(model_type: str, feature: str) -> int:
    """Return how many leading positions ``mm_vision_select_feature`` leaves out of a grid.

    Args:
        model_type: the encoder's.
        feature: ``patch`` or ``cls_patch``.

    Raises:
        CheckpointError: what it selects is no grid of patches.
    """
    leading = CLASS_TOKENS.get(model_type)
    if leading is None:
        raise CheckpointError(
            f"the vision tower is a {model_type!r}, expected one of {', '.join(CLASS_TOKENS)}. "
            "This importer cannot open it."
        )
    drop = {"patch": 1, "cls_patch": 0}.get(feature)
    if drop != leading:
        raise CheckpointError(
            f"mm_vision_select_feature is {feature!r} on a {model_type!r}: what it selects is no "
            f"grid of patches. Expected {'patch' if leading else 'cls_patch'!r} there."
        )
    return leading


def selected_layer(model_type: str, options: Options, layer: int) -> int:
    """Return ``mm_vision_select_layer`` as an index of hidden states.

    The originals read SigLIP's last layer before the norm behind it; -1 stands for what the tower
    returns, norm included.

    Args:
        model_type: the encoder's.
        options: its configuration.
        layer: the index in the original's terms.
    """
    if layer == -1 and model_type == "siglip_vision_model":
        return int(CONFIG_MAPPING[model_type](**options).num_hidden_layers)
    return layer


def tower_rules(prefix: str, target: str = "model.vision_tower") -> tuple[Rule, ...]:
    """Return the rules of a CLIP or SigLIP tower whose names stand behind a prefix pattern."""
    parts = "embeddings|encoder|pre_layrnorm|post_layernorm|head"
    text = r"text_model\..+|logit_scale|logit_bias|visual_projection\..+|text_projection\..+"
    return (
        Skip(rf"{prefix}.*\.position_ids", "computed from the configuration"),
        Move(rf"{prefix}(?:vision_model\.)?((?:{parts})\..+)", rf"{target}.\1"),
        Skip(rf"{prefix}(?:{text})", "the text half of the tower's model"),
    )
