"""The Hydra fork of LLaVA: a tower and a projector for pictures, and others for videos.

``image_encoder`` and ``video_encoder`` are nested objects of config.json, either of which may be
missing; their tensors are ``image_mm_projector`` and ``video_mm_projector``.

============================================  =====================================================
what lies in the folder                       what is imported
============================================  =====================================================
weights                                       they
adapter_model                                 the base model, LoRA merged, trained parts over it
mm_projector.bin                              the base model and both projectors
../mm_projector/NAME.bin                      the same, for a folder NAME saved on the way
image_mm_projector.bin, video_mm_projector..  the base model and the projectors that are there
============================================  =====================================================

The original's video tower is CLIP whose patches are drawn anew each time it is opened and never
saved, so nobody can repeat its answers. Here frames go through CLIP as it is and are averaged over
time, four by four, before the projector. A prompt is made of chunks, as LLaVA's is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.description import Description
from hocket.checkpoint.import_.kinds import importers
from hocket.checkpoint.import_.kinds.llava import TABLE, find_weights, language_type
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
from hocket.checkpoint.import_.origin import Origin
from hocket.checkpoint.import_.projector import TARGET, linear_part, linear_rules
from hocket.checkpoint.import_.table import COMPUTED, Move, Rule, Skip
from hocket.checkpoint.import_.tower import (
    dropped_positions,
    layout_options,
    read_tower,
    selected_layer,
    tower_rules,
)
from hocket.checkpoint.import_.weights import (
    Weights,
    has_weights,
    join,
    open_file,
    open_weights,
)
from hocket.model.build import describe
from hocket.model.spec import ModelSpec, PartSpec, TokenizerSpec, TowerSpec, VideoSpec

_FRAMES, _POOL = 16, 4
_TEMPLATES = {"<|im_start|>": "chatml_direct", "<|start_header_id|>": "llama_3"}
_OWN_TEMPLATES = {"mistral": "mistral_instruct", "phi3": "phi3"}
_NEWLINES = r"model\.(?:image|video)_newline"
_VIDEOS = (
    f"videos: {_FRAMES} segments through CLIP as it is, {_POOL} frames averaged; the original "
    "drew the patches of its video tower anew whenever it was opened, so its answers cannot be "
    "repeated"
)


class Slot(NamedTuple):
    """What one kind of media is called in the files, and here."""

    key: str
    projector: str
    tower: str
    target: str
    joint: str


_IMAGE = Slot("image_encoder", "image_mm_projector", "image_tower", "model.vision_tower", TARGET)
_VIDEO = Slot(
    "video_encoder",
    "video_mm_projector",
    "video_tower",
    "model.video_tower",
    "model.video_projector",
)


class Side(NamedTuple):
    """A tower, where its tensors go, and what holds them."""

    spec: TowerSpec
    rules: tuple[Rule, ...]
    weights: Weights
    note: str


@importers.register
class Hydra:
    """Reads the checkpoints of the Hydra fork of LLaVA."""

    @staticmethod
    def detect(origin: Origin) -> bool:
        """Say whether config.json nests a tower for pictures or one for videos."""
        return not origin.has("llm_cfg") and any(_section(origin, slot) for slot in _slots())

    @staticmethod
    def describe(origin: Origin) -> Description:
        """Return the checkpoint in Hocket's terms.

        Raises:
            CheckpointError: a folder is missing, or an option has no counterpart.
        """
        config = origin.config
        whole, home, notes = _find(origin)
        sides = {slot: _side(origin, slot, whole) for slot in _slots() if _section(origin, slot)}
        if not sides:
            raise CheckpointError(
                f"{origin.folder / 'config.json'} has neither image_encoder nor video_encoder "
                "with mm_vision_tower. Name another kind."
            )
        model_type = language_type(str(config.get("model_type", "")))
        tokenizer = open_tokenizer(home, more=_added(config))
        last = _OWN_TEMPLATES.get(model_type, "vicuna_v1")
        template, why = choose_template(origin, tokenizer, _TEMPLATES, last)
        video = sides.get(_VIDEO)
        spec = ModelSpec(
            language=language_spec(
                config, model_type, rows=table_rows(whole, TABLE), tokenizer=tokenizer
            ),
            vision=sides[_IMAGE].spec if _IMAGE in sides else None,
            video=_films(video.spec) if video else None,
            tokenizer=TokenizerSpec(template=template),
            init="transformers",
        )
        text: dict[str, Any] = {
            "chunked": True,
            "start_tokens": start_tokens(home, tokenizer, template),
        }
        if _framed(config):
            text |= {"image_start": "<im_start>", "image_end": "<im_end>"}
        described = describe(spec, tokenizer=tokenizer, text_rules=text)
        described.config.dtype = read_dtype(str(config.get("torch_dtype", "float32")))
        rules = [rule for side in sides.values() for rule in side.rules]
        return Description(
            config=described.config,
            processor=described.processor,
            weights=join({"": whole, **_towers(sides)}),
            rules=(
                *rules,
                Skip(_NEWLINES, "mm_patch_merge_type does not use it"),
                *COMPUTED,
                *language_rules(),
            ),
            notes=(
                *notes,
                why,
                *(side.note for side in sides.values()),
                *([_VIDEOS] if video else []),
            ),
            stops=stop_tokens(template, tokenizer),
        )


def _slots() -> tuple[Slot, Slot]:
    return _IMAGE, _VIDEO


def _section(origin: Origin, slot: Slot) -> Mapping[str, Any]:
    """Return the nested object of a slot, empty where there is none."""
    found = origin.config.get(slot.key)
    return found if isinstance(found, dict) and found.get("mm_vision_tower") else {}


def _find(origin: Origin) -> tuple[Weights, Path, tuple[str, ...]]:
    """Return the tensors beside the towers' folders, the tokenizer's folder, and notes.

    Raises:
        CheckpointError: the folder holds none, or its base model is missing.
    """
    folder = origin.folder.absolute()
    if has_weights(folder) or (folder / "adapter_config.json").is_file():
        found = find_weights(origin)
        return found.weights, found.tokenizer, found.notes
    files = [folder / f"{slot.projector}.bin" for slot in _slots()]
    files += [folder / "mm_projector.bin", folder.parent / "mm_projector" / f"{folder.name}.bin"]
    present = [file for file in files if file.is_file()]
    if not present:
        raise CheckpointError(
            f"{folder} holds no weights: no *.safetensors, no pytorch_model*.bin, no "
            f"adapter_config.json, and none of {', '.join(file.name for file in files[:3])}."
        )
    name = str(origin.config.get("_name_or_path", ""))
    base = origin.base or origin.find(name, "base model")
    trained = join({"": open_file(present[0])})
    for file in present[1:]:
        trained = open_file(file).over(trained)
    home = folder if has_tokenizer(folder) else base
    said = ", ".join(file.name for file in present)
    plain = trained.renamed(lambda one: one.removeprefix("base_model.").removeprefix("module."))
    return plain.over(open_weights(base)), home, (f"base model {base}, projectors {said}",)


def _side(origin: Origin, slot: Slot, whole: Weights) -> Side:
    """Return a slot's tower and projector.

    Raises:
        CheckpointError: the tower's folder is missing, or an option has no counterpart.
    """
    options = _section(origin, slot)
    merge = str(options.get("mm_patch_merge_type") or "flat")
    if merge != "flat":
        raise CheckpointError(
            f"{slot.key}.mm_patch_merge_type is {merge!r}, expected 'flat', the only one that the "
            "original's forward pass reads. This importer cannot open it."
        )
    folder = origin.find(str(options["mm_vision_tower"]), slot.key)
    model_type, tower = read_tower(folder)
    kind = str(options.get("mm_projector_type") or "linear")
    feature = str(options.get("mm_vision_select_feature") or "patch")
    fit = _fit(origin.config) if slot is _IMAGE else {"fit": "squash"}
    spec = TowerSpec(
        model_type=model_type,
        config=tower,
        layer=selected_layer(model_type, tower, int(options.get("mm_vision_select_layer", -2))),
        drop=dropped_positions(model_type, feature),
        layout=PartSpec(kind="image_fixed", options=layout_options(folder, "image_fixed", **fit)),
        connector=linear_part(kind),
    )
    joint = slot.joint if slot is _IMAGE else f"{slot.joint}.inner"
    rules: tuple[Rule, ...] = tuple(
        replace(rule, target=rule.target.replace(TARGET, joint, 1))
        for rule in linear_rules(kind, rf"model\.{slot.projector}")
        if isinstance(rule, Move)
    )
    inside = rf"model\.{slot.tower}\."
    if any(name.startswith(f"model.{slot.tower}.") for name in whole):
        why = "the original takes the tower's folder"
        rules += (Skip(rf"{inside}.+", why),)
    rules += tower_rules(f"{slot.tower}/", slot.target)
    return Side(spec, rules, open_weights(folder), f"{slot.key}: the tower in {folder}")


def _towers(sides: Mapping[Slot, Side]) -> dict[str, Weights]:
    return {f"{slot.tower}/": side.weights for slot, side in sides.items()}


def _films(tower: TowerSpec) -> VideoSpec:
    """Return a video tower whose frames are averaged before its projector."""
    assert tower.connector is not None
    inner = {"kind": tower.connector.kind} | dict(tower.connector.options)
    pooled = PartSpec(kind="temporal_pool", options={"frames": _POOL, "inner": inner})
    return VideoSpec(
        sampler="segments", options={"frames": _FRAMES}, tower=replace(tower, connector=pooled)
    )


def _fit(config: Mapping[str, Any]) -> dict[str, Any]:
    aspect = config.get("image_aspect_ratio")
    fits: dict[Any, dict[str, Any]] = {None: {}, "square": {}, "pad": {"fit": "pad"}}
    if aspect not in fits:
        raise CheckpointError(
            f"image_aspect_ratio is {aspect!r}, expected pad or square. "
            "This importer cannot open it."
        )
    return fits[aspect]


def _framed(config: Mapping[str, Any]) -> bool:
    """Say whether media stand between start and end tokens; the fork renamed the option."""
    return any(bool(config.get(key)) for key in ("mm_use_start_end", "mm_use_im_start_end"))


def _added(config: Mapping[str, Any]) -> list[str]:
    """Return the tokens that the fork adds to the tokenizer, in its order."""
    patch = any(bool(config.get(key)) for key in ("mm_use_patch_token", "mm_use_im_patch_token"))
    framed = ["<im_start>", "<im_end>", "<vi_start>", "<vi_end>"] if _framed(config) else []
    return ["<im_patch>", *framed] if patch else framed
