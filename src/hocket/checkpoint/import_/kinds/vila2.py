"""VILA 2 and NVILA: the folders of VILA 1.5, tiles or several scales of a picture, line ends.

What differs from VILA 1.5: media are tokens of the tokenizer, so a prompt is tokenised in one
call; squares become rows row by row; a lone picture is cut into tiles, or shown at several scales;
every tile and frame stands between texts, behind it a line end unless told otherwise, and a tile
has a line end as text besides.
The original's loader shrinks the token table to the tokenizer before it answers, so the rows that
a checkpoint keeps in reserve are left out here too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.description import Description
from hocket.checkpoint.import_.kinds import importers
from hocket.checkpoint.import_.kinds.vila import (
    LATER,
    PARTS,
    find_part,
    nested_weights,
    projector_part,
    projector_rules,
    vila_tower,
)
from hocket.checkpoint.import_.language import (
    choose_template,
    has_tokenizer,
    language_rules,
    language_spec,
    open_tokenizer,
    read_dtype,
    start_tokens,
    table_rows,
)
from hocket.checkpoint.import_.origin import Origin
from hocket.checkpoint.import_.projector import TARGET
from hocket.checkpoint.import_.table import COMPUTED, Move, Rule
from hocket.checkpoint.import_.tower import layout_options, tower_rules
from hocket.checkpoint.import_.weights import Item, Weights
from hocket.checkpoint.tools.tensors import read_json
from hocket.model.build import describe
from hocket.model.spec import ModelSpec, Options, PartSpec, TokenizerSpec, TowerSpec, VideoSpec
from hocket.tokens.sentencepiece import MODEL_FILE, open_sentencepiece
from hocket.tokens.tokenizer import AUDIO, IMAGE, PAD, VIDEO

_MEDIA = ("<vila/sentinel>", IMAGE, "<vila/video>")
# Hocket's placeholders, which the original may lack.
_OURS = (VIDEO, AUDIO, PAD)
_TABLES = ("llm.model.embed_tokens.weight", "llm.lm_head.weight")
_TEMPLATES = {"<|im_start|>": "qwen2", "<|start_header_id|>": "llama_3"}
_END = "<|im_end|>"
_LINE = "\n"
_IMAGE_ENCODER = "BasicImageEncoder"
_VIDEO_ENCODERS = ("BasicVideoEncoder", "TSPVideoEncoder")
# What changes the answers and has no counterpart, as long as it is set.
_UNKNOWN = ("ps3", "ps3_dynamic_aspect_ratio", "look_close_mode", "high_res_pos_embed")


@dataclass(frozen=True, slots=True)
class Endings:
    """What the two media encoders add to the features.

    Attributes:
        before: texts in front of each tile and frame.
        after: texts behind each tile and frame.
        pool: frames of a video whose rows are averaged.
        pools: the same where there are several ways, as frames x height x width.
        pool_after: texts behind each of these ways.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    pool: int
    pools: tuple[str, ...] = ()
    pool_after: tuple[str, ...] = ()


@importers.register
class Vila2:
    """Reads the checkpoints of VILA 2 and NVILA."""

    @staticmethod
    def detect(origin: Origin) -> bool:
        """Say whether config.json names the three folders and one of VILA 2's options."""
        return origin.has(*PARTS) and any(origin.has(key) for key in LATER)

    @staticmethod
    def describe(origin: Origin) -> Description:
        """Return the checkpoint in Hocket's terms.

        Raises:
            CheckpointError: a folder is missing, or an option has no counterpart.
        """
        config = origin.config
        _refuse_unknown(config)
        folders = {key: find_part(origin, key) for key in PARTS}
        home = folders["llm_cfg"] if has_tokenizer(folders["llm_cfg"]) else origin.folder
        tokenizer = open_tokenizer(home, more=_MEDIA)
        language = read_json(folders["llm_cfg"] / "config.json")
        model_type = str(language.get("model_type", ""))
        last = "mistral" if model_type == "mistral" else "vicuna_v1"
        template, why = choose_template(origin, tokenizer, _TEMPLATES, last)
        weights = nested_weights(origin, folders)
        rows = table_rows(weights, _TABLES[0])
        kept = min(rows, len(tokenizer) - _added(home, tokenizer))
        projector = str(
            read_json(folders["mm_projector_cfg"] / "config.json").get("mm_projector_type")
        )
        endings = read_endings(config, _start(home, tokenizer))
        video, seen = _video(config)
        spec = ModelSpec(
            language=language_spec(
                language,
                model_type,
                rows=kept,
                tokenizer=tokenizer,
                context=int(language.get("model_max_length") or 0),
            ),
            vision=_tower(config, folders["vision_tower_cfg"], projector, endings),
            video=video,
            tokenizer=TokenizerSpec(template=template),
            init="transformers",
        )
        starts = start_tokens(home, tokenizer, template)
        text_rules = {"start_tokens": starts, "strip": True, "drop": list(_MEDIA[1:])}
        described = describe(spec, tokenizer=tokenizer, text_rules=text_rules)
        described.config.dtype = read_dtype(str(config.get("model_dtype", "float32")))
        return Description(
            config=described.config,
            processor=described.processor,
            weights=_shrunk(weights, kept),
            rules=(
                *COMPUTED,
                *tower_rules(r"vision_tower\.vision_tower\."),
                *_projector_rules(projector, pooled=endings.pool > 1),
                *language_rules(r"llm\."),
            ),
            notes=(why, seen, *_shrink_note(rows, kept)),
            stops=(_END,) if _END in tokenizer.get_vocab() else (),
        )


def _start(home: Path, tokenizer: PreTrainedTokenizerFast) -> tuple[str, ...]:
    """Return the start token where the original's tokenizer writes one before any text."""
    count = start_tokens(home, tokenizer, "")
    return (str(tokenizer.bos_token),) if count else ()


def read_endings(config: Mapping[str, Any], start: tuple[str, ...] = ()) -> Endings:
    """Return what ``image_encoder`` and ``video_encoder`` say; both are JSON, or text of it.

    Args:
        config: the checkpoint's ``config.json``.
        start: tokens in front of every text that is tokenised alone, as these are.

    Raises:
        CheckpointError: they name another class, or an option of it has no counterpart.
    """
    pictures = _encoder(config, "image_encoder", (_IMAGE_ENCODER,))
    films = _encoder(config, "video_encoder", _VIDEO_ENCODERS)
    around = [
        (_texts(one.get("start_tokens"), start), _texts(one.get("end_tokens", _LINE), start))
        for one in (pictures, films)
    ]
    if around[0] != around[1]:
        raise CheckpointError(
            f"image_encoder puts tiles between {around[0]}, video_encoder frames otherwise. "
            "Hocket writes the same texts around both; this checkpoint cannot be imported."
        )
    sizes = films.get("pool_sizes") or [[1, 1, 1]]
    if any(len(size) != 3 or min(size) < 1 for size in sizes):
        raise CheckpointError(
            f"video_encoder has pool_sizes {sizes}, expected sizes [frames, height, width]. "
            "This importer cannot open it."
        )
    last = _texts(films.get("sep_tokens"), start)
    if not last and len(sizes) == 1 and list(sizes[0])[1:] == [1, 1]:
        return Endings(*around[0], int(sizes[0][0]))
    pools = tuple("x".join(str(int(one)) for one in size) for size in sizes)
    return Endings(*around[0], 1, pools, last)


def _encoder(config: Mapping[str, Any], key: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    found = config.get(key) or {"_target_": known[0]}
    try:
        options = json.loads(found) if isinstance(found, str) else found
        kind = str(options["_target_"]).rpartition(".")[2]
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{key} is {found!r}, expected an object with _target_. Correct config.json."
        ) from error
    if kind not in known:
        raise CheckpointError(
            f"{key} is a {kind!r}, expected {' or '.join(known)}. This importer cannot open it."
        )
    return dict(options)


def _texts(text: Any, start: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the original tokenises; of an empty text the start token alone is left."""
    return () if text is None else (*start, *([str(text)] if text else []))


def _refuse_unknown(config: Mapping[str, Any]) -> None:
    found = {key: config[key] for key in _UNKNOWN if config.get(key)}
    if bool(config.get("dynamic_s2")) is not (config.get("image_aspect_ratio") == "dynamic_s2"):
        found |= {key: config.get(key) for key in ("dynamic_s2", "image_aspect_ratio")}
    if found:
        said = ", ".join(f"{key} {value!r}" for key, value in found.items())
        raise CheckpointError(
            f"config.json sets {said}, which changes how media are read and has no counterpart. "
            "This importer cannot open it."
        )


def _tower(config: Mapping[str, Any], folder: Path, projector: str, endings: Endings) -> TowerSpec:
    """Return the vision tower with the layout of ``image_aspect_ratio``."""
    connector = projector_part(projector, "row_major")
    if endings.pool > 1:
        inner = {"kind": connector.kind} | dict(connector.options)
        options: Options = {"frames": endings.pool, "order": "project_first", "inner": inner}
        connector = PartSpec(kind="temporal_pool", options=options)
    aspect = config.get("image_aspect_ratio")
    after: Options = {"before": list(endings.before), "after": list(endings.after)}
    arrange = None
    if endings.pools:
        after |= {"pools": list(endings.pools), "pool_after": list(endings.pool_after)}
        arrange = PartSpec(kind="pyramid", options={"pools": list(endings.pools)})
    if aspect not in ("dynamic", "dynamic_s2"):
        spec = replace(vila_tower(config, folder, connector), arrange=arrange)
        if spec.encoder and spec.encoder.kind == "s2":
            own = spec.encoder.options | {"output": _output(config)}
            spec = replace(spec, encoder=replace(spec.encoder, options=own))
        layout = replace(spec.layout, options=dict(spec.layout.options) | after)
        return replace(spec, layout=layout)
    spec = vila_tower({**config, "image_aspect_ratio": None, "s2": False}, folder, connector)
    if aspect == "dynamic_s2" and (endings.pool > 1 or endings.pools):
        raise CheckpointError(
            f"video_encoder averages frames, and image_aspect_ratio is {aspect!r}. "
            "Hocket has no such model; this checkpoint cannot be imported."
        )
    _check_filter(folder)
    after["max_tiles"] = int(config.get("max_tiles") or 12)
    frame_tiles = int(config.get("video_max_tiles") or 1)
    if aspect == "dynamic":
        tiles: Options = {
            "min_tiles": int(config.get("min_tiles") or 1),
            "tile_after": [_LINE],
            "tile_several": False,
            "frame_tiles": frame_tiles,
        }
        options = layout_options(folder, "image_tiles", **after, **tiles)
        layout = PartSpec(kind="image_tiles", options=options)
        return replace(spec, layout=layout, arrange=arrange)
    scales = _scales(config, int(str(spec.config.get("image_size", 224))))
    shared: Options = {"scales": scales, "output": _output(config)}
    # Scales of frames have as many tiles as pictures may, whatever their own number says.
    after["frame_tiles"] = after["max_tiles"] if frame_tiles > 1 else 1
    options = layout_options(folder, "image_dynamic_s2", **after, **shared)
    return replace(
        spec,
        layout=PartSpec(kind="image_dynamic_s2", options=options),
        arrange=PartSpec(kind="dynamic_s2", options=shared),
    )


def _output(config: Mapping[str, Any]) -> int:
    return int(config.get("s2_resize_output_to_scale_idx") or 0)


def _scales(config: Mapping[str, Any], size: int) -> list[int]:
    """Return the sides of the scales, the first of which is the tower's picture.

    Raises:
        CheckpointError: the first scale is another.
    """
    found = config.get("s2_scales")
    parts = found.split(",") if isinstance(found, str) else found or []
    scales = sorted(int(part) for part in parts)
    if not scales or scales[0] != size:
        raise CheckpointError(
            f"s2_scales is {found!r}, but the vision tower takes {size} pixels, expected that as "
            "the first scale. Correct config.json."
        )
    return scales


def _check_filter(folder: Path) -> None:
    """Refuse a tower whose frames are resized with another filter than tiles are."""
    used = layout_options(folder, "image_fixed").get("resample", "bicubic")
    if used != "bicubic":
        raise CheckpointError(
            f"{folder}: its preprocessor resizes frames {used}, but the original resizes tiles "
            "bicubic. Hocket has one filter for both; this checkpoint cannot be imported."
        )


def _video(config: Mapping[str, Any]) -> tuple[VideoSpec, str]:
    """Return how frames are chosen, and a note that says it."""
    frames, fps = int(config.get("num_video_frames") or 8), float(config.get("fps") or 0.0)
    if fps > 0:
        options: Options = {"rate": fps, "max_frames": frames, "rule": "first"}
        return VideoSpec(sampler="at_fps", options=options), (
            f"videos: {fps:g} frames a second, the first {frames} of them"
        )
    return VideoSpec(
        sampler="uniform", options={"frames": frames, "short": "repeat"}
    ), f"videos: {frames} frames at equal distances"


def _projector_rules(kind: str, *, pooled: bool) -> tuple[Rule, ...]:
    rules = projector_rules(kind)
    if not pooled:
        return rules
    return tuple(
        replace(rule, target=rule.target.replace(TARGET, f"{TARGET}.inner", 1))
        for rule in rules
        if isinstance(rule, Move)
    )


def _added(folder: Path, tokenizer: PreTrainedTokenizerFast) -> int:
    """Return how many tokens of the tokenizer are Hocket's own and not the original's."""
    if (folder / MODEL_FILE).is_file():
        known = open_sentencepiece(folder).get_vocab()
    else:
        known = AutoTokenizer.from_pretrained(folder, local_files_only=True).get_vocab()
    return sum(token in tokenizer.get_vocab() and token not in known for token in _OURS)


def _shrunk(weights: Weights, rows: int) -> Weights:
    """Return the tensors with `rows` rows of the token table and of the output head."""
    tables = {name: weights[name] for name in _TABLES if name in weights}
    return Weights({name: _first_rows(item, rows) for name, item in tables.items()}).over(weights)


def _first_rows(item: Item, rows: int) -> Item:
    return replace(item, shape=(rows, *item.shape[1:]), read=lambda: item.read()[:rows].clone())


def _shrink_note(rows: int, kept: int) -> tuple[str, ...]:
    if rows == kept:
        return ()
    return (
        f"token table: {rows - kept} of {rows} rows are no token's and are left out, as the "
        "original's loader does",
    )
