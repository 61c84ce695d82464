"""LLaVA 1.5 and 1.6: whole checkpoints, LoRA adapters, projectors alone.

============================  =====================================================================
what lies in the folder       what is imported
============================  =====================================================================
weights                       they
adapter_model                 the base model, LoRA merged, ``non_lora_trainables.bin`` in its place
mm_projector.bin              the base model and the projector
../mm_projector/NAME.bin      the same, for a folder NAME that training saved on its way
============================  =====================================================================

The vision tower is in a folder of its own. Where the checkpoint holds it too, that one counts if
``unfreeze_mm_vision_tower`` is set, as in LLaVA's own loader.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

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
    stop_tokens,
    table_rows,
)
from hocket.checkpoint.import_.lora import merge_lora
from hocket.checkpoint.import_.origin import Origin
from hocket.checkpoint.import_.projector import linear_part, linear_rules
from hocket.checkpoint.import_.table import COMPUTED, Move, Rule, Skip
from hocket.checkpoint.import_.tower import (
    dropped_positions,
    layout_options,
    line_of_positions,
    read_tower,
    selected_layer,
    tower_rules,
)
from hocket.checkpoint.import_.weights import (
    Item,
    Weights,
    has_weights,
    join,
    open_file,
    open_weights,
)
from hocket.checkpoint.tools.tensors import read_json
from hocket.model.build import describe
from hocket.model.spec import ModelSpec, PartSpec, TokenizerSpec, TowerSpec

TABLE = "model.embed_tokens.weight"
_INSIDE = "model.vision_tower."
_TEMPLATES = {"<|im_start|>": "chatml_direct", "<|start_header_id|>": "llama_3"}
_OWN_TEMPLATES = {"mistral": "mistral_instruct", "mpt": "mpt"}
_TYPES = {"llava": "llama", "llava_qwen": "qwen2"}
_MERGES = {"flat": ("flat", None), "spatial": ("spatial", "spatial")}
_UNPAD = ("unpad", "spatial_unpad")


class Found(NamedTuple):
    """The tensors of a checkpoint, and where its tokenizer is."""

    weights: Weights
    tokenizer: Path
    notes: tuple[str, ...]


@importers.register
class Llava:
    """Reads the checkpoints of LLaVA 1.5 and 1.6."""

    @staticmethod
    def detect(origin: Origin) -> bool:
        """Say whether config.json is LLaVA's, and not that of a system that grew out of it."""
        others = ("mm_audio_encoder", "llm_cfg", "image_encoder", "video_encoder", "text_config")
        return origin.has("mm_vision_tower", "mm_projector_type") and not any(
            origin.has(key) for key in others
        )

    @staticmethod
    def describe(origin: Origin) -> Description:
        """Return the checkpoint in Hocket's terms.

        Raises:
            CheckpointError: a folder is missing, or an option has no counterpart.
        """
        config = origin.config
        projector, named = str(origin.need("mm_projector_type")), tower_name(origin)
        found = find_weights(origin)
        model_type = language_type(str(config.get("model_type", "")))
        tokenizer = open_tokenizer(found.tokenizer, more=added_tokens(config))
        last = _OWN_TEMPLATES.get(model_type, "vicuna_v1")
        template, why = choose_template(origin, tokenizer, _TEMPLATES, last)
        tower = origin.find(named, "vision tower")
        weights, tower_table, notes = place_tower(config, found.weights, tower)
        spec = ModelSpec(
            language=language_spec(
                config, model_type, rows=table_rows(weights, TABLE), tokenizer=tokenizer
            ),
            vision=_vision(config, tower),
            tokenizer=TokenizerSpec(template=template),
            init="transformers",
        )
        rules = _text_rules(config, start_tokens(found.tokenizer, tokenizer, template))
        described = describe(spec, tokenizer=tokenizer, text_rules=rules)
        described.config.dtype = read_dtype(str(config.get("torch_dtype", "float32")))
        newline = (
            Move(r"model\.image_newline", "model.image_arrange.image_newline")
            if spec.vision and spec.vision.arrange and spec.vision.arrange.kind == _UNPAD[1]
            else Skip(r"model\.image_newline", "mm_patch_merge_type does not use it")
        )
        return Description(
            config=described.config,
            processor=described.processor,
            weights=weights,
            rules=(
                *linear_rules(projector, r"model\.mm_projector"),
                newline,
                *tower_table,
                *COMPUTED,
                *language_rules(),
            ),
            notes=(*found.notes, why, *notes),
            stops=stop_tokens(template, tokenizer),
        )


def find_weights(origin: Origin) -> Found:
    """Return the tensors of a checkpoint of any of LLaVA's layouts.

    Raises:
        CheckpointError: it has none of them, or its base model is missing.
    """
    folder = origin.folder
    alone = folder / "mm_projector.bin"
    aside = folder.absolute().parent / "mm_projector" / f"{folder.absolute().name}.bin"
    if (folder / "adapter_config.json").is_file():
        found = _adapter(origin)
    elif has_weights(folder):
        found = Found(open_weights(folder), folder, ())
    elif alone.is_file() or aside.is_file():
        file = alone if alone.is_file() else aside
        base = _base(origin, str(origin.config.get("_name_or_path", "")))
        adapter = open_file(file).renamed(
            lambda name: re.sub(r"^.*?(?=mm_projector\.)", "model.", name)
        )
        weights = _with_tokens(open_weights(base), adapter, len(added_tokens(origin.config)))
        found = Found(weights, base, (f"base model {base}, projector {file}",))
    else:
        raise CheckpointError(
            f"{folder} holds no weights: no *.safetensors, no pytorch_model*.bin, no "
            "adapter_config.json and no mm_projector.bin. Copy the checkpoint again."
        )
    home = folder if has_tokenizer(folder) else found.tokenizer
    return found._replace(weights=fuse_experts(found.weights), tokenizer=home)


def language_type(model_type: str) -> str:
    """Return the transformers model type of the language model of a ``llava_llama``."""
    return _TYPES.get(model_type, model_type.removeprefix("llava_"))


def tower_name(origin: Origin) -> str:
    """Return the name of the vision tower; older checkpoints write a list of one."""
    name = origin.need("mm_vision_tower")
    return str(name[0] if isinstance(name, list) else name)


def added_tokens(config: Mapping[str, Any]) -> list[str]:
    """Return the tokens that LLaVA adds to the tokenizer, in its order."""
    tokens = ["<im_patch>"] if config.get("mm_use_im_patch_token") else []
    return tokens + (["<im_start>", "<im_end>"] if config.get("mm_use_im_start_end") else [])


def place_tower(
    config: Mapping[str, Any], weights: Weights, folder: Path
) -> tuple[Weights, tuple[Rule, ...], tuple[str, ...]]:
    """Return all tensors, the rules of the tower's and a note: the folder's, or those inside.

    Args:
        config: LLaVA's ``config.json``.
        weights: the checkpoint's own tensors.
        folder: the tower's folder.
    """
    inside = any(name.startswith(_INSIDE) for name in weights)
    tuned = bool(config.get("unfreeze_mm_vision_tower"))
    within = r"model\.vision_tower\.vision_tower\."
    if inside and (tuned or not has_weights(folder)):
        why = "unfreeze_mm_vision_tower is set" if tuned else f"{folder} holds no weights"
        return weights, tower_rules(within), (f"vision tower: the checkpoint's own, since {why}",)
    rules: tuple[Rule, ...] = tower_rules("tower/")
    if inside:
        reason = "LLaVA takes the tower's folder, since unfreeze_mm_vision_tower is not set"
        rules = (Skip(rf"{within}.+", reason), *rules)
    whole = join({"": weights, "tower/": open_weights(folder)})
    return whole, rules, (f"vision tower: {folder}",)


def _adapter(origin: Origin) -> Found:
    """Return the base model with LoRA merged and the trained parts beside it in their place."""
    folder = origin.folder
    settings = read_json(folder / "adapter_config.json")
    base = _base(origin, str(settings.get("base_model_name_or_path", "")))
    files = [folder / f"adapter_model.{end}" for end in ("safetensors", "bin")]
    file = next((one for one in files if one.is_file()), files[0])
    whole = open_weights(base)
    beside = folder / "non_lora_trainables.bin"
    if beside.is_file():
        whole = open_file(beside).renamed(_plain).over(whole)
    merged = merge_lora(whole, open_file(file), settings)
    return Found(merged, base, (f"base model {base}, LoRA merged",))


def _plain(name: str) -> str:
    return re.sub(r"^(?:base_model\.)?(?:model\.(?=model\.|lm_head))?", "", name)


def _base(origin: Origin, name: str) -> Path:
    return origin.base or origin.find(name, "base model")


def _with_tokens(base: Weights, adapter: Weights, more: int) -> Weights:
    """Return the base with a projector; the last rows of the projector's token table are new."""
    if TABLE not in adapter:
        return adapter.over(base)
    old, new = base[TABLE], adapter[TABLE]
    rest = adapter.without(lambda name: name == TABLE)
    taken = min(more, 2, new.shape[0])
    rows = old.shape[0] + more

    def read() -> torch.Tensor:
        table = old.read()
        mean = table.mean(dim=0, dtype=torch.float32, keepdim=True).to(table.dtype)
        learned = new.read()[len(new.read()) - taken :].to(table.dtype)
        return torch.cat([table, mean.expand(more - taken, -1), learned])

    grown = Item(old.dtype, (rows, old.shape[1]), read, old.origins + new.origins)
    return Weights({TABLE: grown}).over(rest.over(base))


def _vision(config: Mapping[str, Any], folder: Path) -> TowerSpec:
    model_type, options = read_tower(folder)
    projector = linear_part(str(config["mm_projector_type"]))
    feature = str(config.get("mm_vision_select_feature", "patch"))
    # A projector of single rows needs no grid. S2 does, and refuses what is none.
    line = None if config.get("s2") else line_of_positions(model_type, feature)
    spec = TowerSpec(
        model_type=model_type,
        config=options,
        layer=selected_layer(model_type, options, int(config.get("mm_vision_select_layer", -2))),
        drop=dropped_positions(model_type, feature) if line is None else int(line < 0),
        encoder=None if line is None else PartSpec(kind="hf", options={"leading": line}),
        layout=PartSpec(kind="image_fixed", options=layout_options(folder, "image_fixed")),
        connector=projector,
    )
    if config.get("s2"):
        scales = sorted(int(one) for one in str(config.get("s2_scales")).split(","))
        spec = replace(spec, encoder=PartSpec(kind="s2", options={"scales": scales}))
    return _shown(spec, config, folder)


def _shown(spec: TowerSpec, config: Mapping[str, Any], folder: Path) -> TowerSpec:
    """Return a tower with the layout of ``image_aspect_ratio``."""
    aspect = config.get("image_aspect_ratio")
    if aspect in (None, "square"):
        return spec
    if aspect == "pad":
        options = layout_options(folder, "image_fixed", fit="pad")
        return replace(spec, layout=PartSpec(kind="image_fixed", options=options))
    if aspect != "anyres":
        raise CheckpointError(
            f"image_aspect_ratio is {aspect!r}, expected pad, square or anyres. "
            "This importer cannot open it."
        )
    merge, arrange = _merge(str(config.get("mm_patch_merge_type", "flat")))
    size = int(str(spec.config.get("image_size", 224)))
    grids = _grids(config.get("image_grid_pinpoints"), size)
    options = layout_options(folder, "image_anyres", merge=merge, grids=grids)
    return replace(
        spec,
        layout=PartSpec(kind="image_anyres", options=options),
        arrange=PartSpec(kind=arrange) if arrange else None,
    )


def _merge(kind: str) -> tuple[str, str | None]:
    if kind == "spatial_unpad":
        return _UNPAD
    if kind not in _MERGES:
        raise CheckpointError(
            f"mm_patch_merge_type is {kind!r}, expected flat, spatial or spatial_unpad. "
            "This importer cannot open it."
        )
    return _MERGES[kind]


def _grids(pinpoints: Any, size: int) -> list[str]:
    """Return grids as columns x rows from sizes (width, height) in pixels, or their text."""
    try:
        if isinstance(pinpoints, str):
            pinpoints = json.loads(pinpoints.replace("(", "[").replace(")", "]"))
        pairs = [(int(width), int(height)) for width, height in pinpoints]
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"image_grid_pinpoints is {pinpoints!r}, expected pairs of pixels. Correct config.json."
        ) from error
    if any(side % size for pair in pairs for side in pair):
        raise CheckpointError(
            f"image_grid_pinpoints is {pairs}, expected multiples of the tower's {size} pixels."
        )
    return [f"{width // size}x{height // size}" for width, height in pairs]


def _text_rules(config: Mapping[str, Any], starts: int | None) -> dict[str, Any]:
    """Return how LLaVA turns a prompt into ids: chunk by chunk, its start token once."""
    rules: dict[str, Any] = {"chunked": True, "start_tokens": starts}
    if config.get("mm_use_im_start_end"):
        rules |= {"image_start": "<im_start>", "image_end": "<im_end>"}
    return rules
