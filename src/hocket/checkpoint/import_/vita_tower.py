"""Vision towers of VITA: InternViT, SigLIP (also at several scales), CLIP and EVA-CLIP.

The original chooses by a part of the tower's path; here its own ``config.json`` decides. EVA-CLIP
is a file without a configuration, whose shape the tensors tell. Weights inside the checkpoint count
before those of the tower's folder.

Letters: C width, P patches, E width of a head.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.keys_eva import eva_rules
from hocket.checkpoint.import_.keys_internvit import (
    MODEL_TYPE,
    internvit_options,
    internvit_rules,
)
from hocket.checkpoint.import_.language import config_options
from hocket.checkpoint.import_.origin import Origin
from hocket.checkpoint.import_.table import Rule, Skip
from hocket.checkpoint.import_.tower import layout_options, read_tower, tower_rules
from hocket.checkpoint.import_.weights import Weights, has_weights, open_file, open_weights
from hocket.checkpoint.tools.tensors import read_json
from hocket.model.spec import Options, PartSpec, TowerSpec
from hocket.parts.vision import vision_encoders

INSIDE = "model.vision_tower.vision_tower."
_SOURCE = r"model\.vision_tower\.vision_tower\."
_EVA = "eva_clip"
_INTERNVIT = "intern_vit_6b"
_SCALES = "384,768,1152"
_TARGET = "model.vision_tower."
# OpenAI's CLIP, whose statistics EVA-CLIP shares; its file comes without an image processor.
_EVA_LAYOUT: Options = {
    "fit": "crop",
    "resample": "bicubic",
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
}
_EVA_HEAD, _EVA_GRID = 64, 16


@dataclass(frozen=True, slots=True)
class VitaTower:
    """A vision tower as it was found.

    Attributes:
        spec: the tower without its connector.
        rules: where its tensors go, under the names that they have inside a checkpoint.
        weights: the checkpoint's tensors, and the tower's where the checkpoint lacks them.
        folded: whether its features are folded before the projector.
        note: where its weights come from.
    """

    spec: TowerSpec
    rules: tuple[Rule, ...]
    weights: Weights
    folded: bool
    note: str


def vita_tower(origin: Origin, weights: Weights, tiles: Options) -> VitaTower:
    """Return the vision tower that a checkpoint of VITA names.

    Args:
        origin: the checkpoint.
        weights: its own tensors.
        tiles: options of the layout ``image_tiles`` that count before those of the tower.

    Raises:
        CheckpointError: the tower is missing or of an unknown kind, or an option has no
            counterpart.
    """
    name = origin.need("mm_vision_tower")
    name = str(name[0] if isinstance(name, list) else name)
    file = _eva_file(origin, name)
    if file is not None or _holds_eva(weights):
        return _eva_tower(origin, weights, file, tiles)
    folder = origin.find(name, "vision tower")
    document = read_json(folder / "config.json")
    layout = PartSpec(kind="image_tiles", options=layout_options(folder, "image_tiles", **tiles))
    if document.get("model_type") == _INTERNVIT:
        _refuse_scales(origin, "InternViT")
        spec = TowerSpec(
            model_type=MODEL_TYPE,
            config=config_options(internvit_options(document), MODEL_TYPE),
            drop=1,
            # The factor is part of the weights' contract: VITA was trained with it.
            scale=0.5,
            layout=layout,
        )
        rules = internvit_rules(source=_SOURCE, target=_TARGET)
    else:
        spec = _flat_tower(origin, folder, layout)
        rules = tower_rules(_SOURCE)
    whole, note = _with_folder(weights, folder, _layers(document))
    return VitaTower(spec, rules, whole, spec.model_type == MODEL_TYPE, note)


def _layers(document: Mapping[str, Any]) -> int:
    """Return the layers that a tower's ``config.json`` describes; 0 if it does not say."""
    nested = document.get("vision_config")
    return int((nested if isinstance(nested, dict) else document).get("num_hidden_layers", 0))


def _flat_tower(origin: Origin, folder: Path, layout: PartSpec) -> TowerSpec:
    """Return SigLIP or CLIP, whose last layer but one VITA reads."""
    model_type, options = read_tower(folder)
    drops = {"clip_vision_model": 1, "siglip_vision_model": 0}
    if model_type not in drops:
        raise CheckpointError(
            f"the vision tower is a {model_type!r}, expected InternViT, EVA-CLIP or one of "
            f"{', '.join(drops)}. This importer cannot open it."
        )
    spec = TowerSpec(
        model_type=model_type, config=options, layer=-2, drop=drops[model_type], layout=layout
    )
    if not origin.config.get("use_s2"):
        return spec
    if model_type != "siglip_vision_model":
        _refuse_scales(origin, model_type)
    written = str(origin.config.get("s2_scales") or _SCALES)
    scales = sorted(int(scale) for scale in written.split(","))
    return replace(spec, encoder=PartSpec(kind="s2", options={"scales": list(scales)}))


def _refuse_scales(origin: Origin, tower: str) -> None:
    if origin.config.get("use_s2"):
        raise CheckpointError(
            f"use_s2 is set on the vision tower {tower}, expected SigLIP: VITA reads no other at "
            "several scales. Correct config.json."
        )


def _with_folder(weights: Weights, folder: Path, layers: int) -> tuple[Weights, str]:
    """Return the checkpoint's tensors, and those of the tower's folder where layers are missing."""
    inside = f"{re.escape(INSIDE)}.*layers\\.(\\d+)\\..*"
    found = {int(match[1]) for name in weights if (match := re.fullmatch(inside, name))}
    if len(found) >= max(layers, 1) or not has_weights(folder):
        return weights, f"vision tower: the checkpoint's own, options of {folder}"
    own = open_weights(folder).renamed(lambda name: INSIDE + name)
    if found:
        note = f"vision tower: {len(found)} layers of the checkpoint, the rest of {folder}"
        return weights.over(own), note
    return weights.over(own), f"vision tower: {folder}"


def _eva_file(origin: Origin, name: str) -> Path | None:
    """Return the file that the configuration names as its tower, if it is one."""
    written = Path(name).expanduser()
    for place in origin.places:
        for candidate in (place / written, place / written.name):
            if candidate.is_file():
                return candidate
    return None


def _holds_eva(weights: Weights) -> bool:
    return any(name.startswith(INSIDE) and name.endswith(".attn.q_bias") for name in weights)


def _eva_tower(origin: Origin, weights: Weights, file: Path | None, tiles: Options) -> VitaTower:
    """Return EVA-CLIP, whose shape is read off its tensors."""
    _refuse_scales(origin, "EVA-CLIP")
    note = "vision tower: the checkpoint's own EVA-CLIP"
    if not _holds_eva(weights) and file is not None:
        note = f"vision tower: {file}"
        own = open_file(file).renamed(
            lambda name: (
                INSIDE + name.removeprefix("visual.")
                if name.startswith("visual.")
                else f"eva/{name}"
            )
        )
        weights = weights.over(own)
    prefix = rf"{_SOURCE}(?:model\.)?"
    shape = {
        match[1]: item
        for name, item in weights.items()
        if (match := re.fullmatch(f"{prefix}(.+)", name))
    }
    blocks = {int(match[1]) for name in shape if (match := re.match(r"blocks\.(\d+)\.", name))}
    try:
        patches = shape["pos_embed"].shape[1] - 1
        width, _, patch, _ = shape["patch_embed.proj.weight"].shape
        inner = shape["blocks.0.mlp.w1.weight"].shape[0]
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(
            f"the vision tower holds no EVA-CLIP: {error}. Give the file whose tensors are named "
            "visual.*, such as EVA02_CLIP_L_336_psz14_s6B.pt."
        ) from error
    side = math.isqrt(patches)
    head, grid = _EVA_HEAD, _EVA_GRID
    if "rope.freqs_cos" in shape:
        # The first frequency is 1, so the second row's first angle is the distance of two patches.
        table = shape["rope.freqs_cos"].read()
        head, grid = table.shape[1], round(math.acos(float(table[side, 0])) * side)
    vision_encoders.get(_EVA)  # makes its configuration known
    spec = TowerSpec(
        model_type=_EVA,
        config={
            "image_size": side * patch,
            "patch_size": patch,
            "hidden_size": width,
            "intermediate_size": inner,
            "num_hidden_layers": len(blocks) - 1,
            "num_attention_heads": width // head,
            "rope_grid": grid,
        },
        drop=1,
        layout=PartSpec(kind="image_tiles", options=_EVA_LAYOUT | tiles),
    )
    rules = (
        *eva_rules(layers=len(blocks), source=prefix, target=_TARGET),
        Skip(r"eva/.+", "the text half of the tower's model"),
    )
    return VitaTower(spec, rules, weights, False, note)
