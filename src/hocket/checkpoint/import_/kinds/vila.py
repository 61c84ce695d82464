"""VILA 1.5, and checkpoints of NaVILA that look at videos as VILA does: a folder for each part.

``llm``, ``vision_tower`` and ``mm_projector`` are transformers folders of their own; a dump of the
whole model in one file has the same names behind ``llm.``, ``vision_tower.vision_tower.`` and
``mm_projector.``. Rows of ``mm_projector`` follow each other column by column, and on Llama 3 every
prompt starts with two start tokens, since template and tokenizer write one each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from hocket.checkpoint.import_.origin import Origin
from hocket.checkpoint.import_.projector import (
    downsample_part,
    downsample_rules,
    linear_part,
    linear_rules,
)
from hocket.checkpoint.import_.table import COMPUTED, Rule
from hocket.checkpoint.import_.tower import (
    dropped_positions,
    layout_options,
    line_of_positions,
    read_tower,
    selected_layer,
    tower_rules,
)
from hocket.checkpoint.import_.weights import Weights, has_weights, join, open_weights
from hocket.checkpoint.tools.tensors import read_json
from hocket.model.build import describe
from hocket.model.spec import ModelSpec, Options, PartSpec, TokenizerSpec, TowerSpec, VideoSpec

PARTS = {"llm_cfg": "llm", "vision_tower_cfg": "vision_tower", "mm_projector_cfg": "mm_projector"}
PREFIXES = {
    "llm_cfg": "llm.",
    "vision_tower_cfg": "vision_tower.vision_tower.",
    "mm_projector_cfg": "mm_projector.",
}
# What only VILA 2 writes.
LATER = ("image_encoder", "video_encoder", "min_tiles", "max_tiles", "dynamic_s2")
_TEMPLATES = {"<|start_header_id|>": "llama_3", "<|im_start|>": "chatml_direct"}
# Yi-34B, whose tokenizer VILA opens without `legacy=False`.
_YI = (60, 56)
# Connectors that read each position by itself, whatever their number.
_ROW_BY_ROW = ("identity", "linear", "mlp")
_WALKS = (
    "NaVILA's files are the same: if this is one, import it as navila, whose videos are walks "
    "(frames from the whole past, the newest last)"
)


@importers.register
class Vila:
    """Reads the checkpoints of VILA 1.5."""

    @staticmethod
    def detect(origin: Origin) -> bool:
        """Say whether config.json names the three folders and none of VILA 2's options."""
        return origin.has(*PARTS) and not any(origin.has(key) for key in LATER)

    @staticmethod
    def describe(origin: Origin) -> Description:
        """Return the checkpoint in Hocket's terms, videos sampled evenly.

        Raises:
            CheckpointError: a folder is missing, or an option has no counterpart.
        """
        described = describe_vila(origin, sampler="uniform")
        return replace(described, notes=(*described.notes, _WALKS))


def describe_vila(origin: Origin, *, sampler: str) -> Description:
    """Return a checkpoint of VILA 1.5 or NaVILA in Hocket's terms.

    Args:
        origin: the folder.
        sampler: how frames of a video are chosen.

    Raises:
        CheckpointError: a folder is missing, or an option has no counterpart.
    """
    folders = {key: find_part(origin, key) for key in PARTS}
    weights = nested_weights(origin, folders)
    language = read_json(folders["llm_cfg"] / "config.json")
    home = folders["llm_cfg"] if has_tokenizer(folders["llm_cfg"]) else origin.folder
    yi = (language.get("num_hidden_layers"), language.get("num_attention_heads")) == _YI
    tokenizer = open_tokenizer(home, legacy=None if yi else False)
    model_type = str(language.get("model_type", ""))
    last = "mistral" if model_type == "mistral" else "vicuna_v1"
    template, why = choose_template(origin, tokenizer, _TEMPLATES, last)
    projector = str(read_json(folders["mm_projector_cfg"] / "config.json").get("mm_projector_type"))
    video = _video(origin.config, sampler)
    spec = ModelSpec(
        language=language_spec(
            language,
            model_type,
            rows=table_rows(weights, "llm.model.embed_tokens.weight"),
            tokenizer=tokenizer,
            context=int(language.get("model_max_length") or 0),
        ),
        vision=vila_tower(
            origin.config, folders["vision_tower_cfg"], projector_part(projector, "column_major")
        ),
        video=video,
        tokenizer=TokenizerSpec(template=template),
        init="transformers",
    )
    starts = start_tokens(home, tokenizer, template)
    rules: dict[str, Any] = {"chunked": True, "start_tokens": starts, "strip": True}
    if origin.config.get("mm_use_im_start_end"):
        rules |= {"image_start": "<im_start>", "image_end": "<im_end>"}
    described = describe(spec, tokenizer=tokenizer, text_rules=rules)
    described.config.dtype = read_dtype(str(origin.config.get("model_dtype", "float32")))
    return Description(
        config=described.config,
        processor=described.processor,
        weights=weights,
        rules=(
            *COMPUTED,
            *tower_rules(r"vision_tower\.vision_tower\."),
            *projector_rules(projector),
            *language_rules(r"llm\."),
        ),
        notes=(why, f"videos: {video.sampler}, {dict(video.options)}"),
        stops=stop_tokens(template, tokenizer),
    )


def _video(config: Mapping[str, Any], sampler: str) -> VideoSpec:
    """Return how frames of a video are chosen; VILA's ``fps`` sets how many a second it takes."""
    frames, fps = int(config.get("num_video_frames") or 8), float(config.get("fps") or 0.0)
    if fps > 0 and sampler == "uniform":
        options: Options = {"rate": fps, "max_frames": frames, "rule": "ceiling"}
        return VideoSpec(sampler="at_fps", options=options)
    return VideoSpec(sampler=sampler, options={"frames": frames})


def find_part(origin: Origin, key: str) -> Path:
    """Return the folder of a part: beside config.json, else where config.json says.

    Raises:
        CheckpointError: it is nowhere.
    """
    value, name = origin.need(key), PARTS[key]
    if (origin.folder / name / "config.json").is_file():
        return origin.folder / name
    return origin.find(value if isinstance(value, str) else name, name)


def nested_weights(origin: Origin, folders: Mapping[str, Path]) -> Weights:
    """Return the tensors of all parts under the names of a dump of the whole model.

    Raises:
        CheckpointError: a folder holds no weights.
    """
    if has_weights(origin.folder) and not has_weights(folders["llm_cfg"]):
        return fuse_experts(open_weights(origin.folder))
    whole = join({PREFIXES[key]: open_weights(folder) for key, folder in folders.items()})
    return fuse_experts(whole)


def vila_tower(config: Mapping[str, Any], folder: Path, connector: PartSpec) -> TowerSpec:
    """Return the vision tower of VILA's options, with the layout of ``image_aspect_ratio``.

    Raises:
        CheckpointError: an option has no counterpart.
    """
    model_type, options = read_tower(folder)
    size = options.get("image_size", 224)
    elevated = config.get("vision_resolution", -1)
    if elevated not in (-1, None, size):
        raise CheckpointError(
            f"vision_resolution is {elevated}, but the tower's own config.json says {size}: the "
            "position table was never enlarged. Save the checkpoint with VILA first."
        )
    aspect = config.get("image_aspect_ratio")
    fits: dict[Any, dict[str, Any]] = {
        # VILA resizes with PIL's own default before the tower's processor sees the picture.
        "resize": {"fit": "squash", "resample": "bicubic"},
        "pad": {"fit": "pad"},
        None: {},
    }
    if aspect not in fits:
        raise CheckpointError(
            f"image_aspect_ratio is {aspect!r}, expected resize or pad. "
            "This importer cannot open it."
        )
    feature = str(config.get("mm_vision_select_feature", "patch"))
    line = line_of_positions(model_type, feature)
    if config.get("s2") or connector.kind not in _ROW_BY_ROW:
        line = None
    spec = TowerSpec(
        model_type=model_type,
        config=options,
        encoder=None if line is None else PartSpec(kind="hf", options={"leading": line}),
        layer=selected_layer(model_type, options, int(config.get("mm_vision_select_layer", -2))),
        drop=dropped_positions(model_type, feature) if line is None else int(line < 0),
        layout=PartSpec(
            kind="image_fixed", options=layout_options(folder, "image_fixed", **fits[aspect])
        ),
        connector=connector,
    )
    if config.get("s2"):
        scales = sorted(int(one) for one in str(config.get("s2_scales")).split(","))
        split = int(config.get("s2_max_split_size") or scales[0])
        own = PartSpec(kind="s2", options={"scales": scales, "max_split": split})
        spec = replace(spec, encoder=own)
    return spec


def projector_part(kind: str, order: str) -> PartSpec:
    """Return the connector of VILA's ``mm_projector_type``.

    Args:
        kind: the type.
        order: in which order ``mlp_downsample`` itself writes its rows.

    Raises:
        CheckpointError: it is of an unknown kind.
    """
    return downsample_part(kind, order) or linear_part(kind)


def projector_rules(kind: str) -> tuple[Rule, ...]:
    """Return the rules of VILA's projector.

    Raises:
        CheckpointError: it is of an unknown kind.
    """
    prefix = r"mm_projector\.layers"
    return downsample_rules(kind, prefix) or linear_rules(kind, prefix)
