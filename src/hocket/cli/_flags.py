"""What each flag of the original trainers is here: config keys, or the reason why there is none.

A flag stands in one of three tables: `FLAGS` says the keys of its value alone, `STAGED` those that
also depend on the run and on the stage that is meant, `NO_MEANING` has none and says why. Where
``{stage}`` stands in a key, that stage's part of the config is meant.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hocket._env import world_size
from hocket._errors import ConfigError
from hocket.cli._compose import RunConfig
from hocket.train.recipe import Stage

_SCHEDULES = {
    "cosine": "cosine",
    "cosine_with_min_lr": "cosine",
    "linear": "linear",
    "constant": "constant",
    "constant_with_warmup": "constant",
}
_SOURCES = {".jsonl": "jsonl", ".parquet": "parquet", ".csv": "csv", ".tsv": "tsv"}
_ROWS = "data.datasets.rows"
_LAYOUT = "model.vision.layout.options"
_CONNECTOR = "model.vision.connector"
_PROJECTOR = ("connector", "mm_projector")
_DOWNSAMPLE = re.compile(r"mlp_downsample_(2x2|3x3)_fix|mlp_downsample_(3x3_s2(?:_new)?)")
MEDIA = ("image_folder", "video_folder")
MODULES = ("train_modules", "tune_mm_mlp_adapter")
SWITCHES = frozenset({"bf16", "gradient_checkpointing", "tune_mm_mlp_adapter"})
"""Flags that may stand without a value, which says yes then."""


@dataclass(frozen=True, slots=True)
class At:
    """What a flag is for.

    Attributes:
        config: the run without the flags of `STAGED`.
        name: the stage that is meant.
        plain: the overrides that were typed.
        flags: every flag that was given, with its value.
        processes: processes that train; 0 if nobody said so.
    """

    config: RunConfig
    name: str
    plain: tuple[str, ...]
    flags: Mapping[str, str]
    processes: int = 0

    @property
    def stage(self) -> Stage:
        """The stage, with the data sets that its mixture came to."""
        return self.config.train.stages[self.name]


def quoted(value: str) -> str:
    """Return a value as Hydra reads it as text where it has special characters."""
    simple = all(one.isalnum() or one in "._-/" for one in value)
    return value if simple and value else "'" + value.replace("'", "\\'") + "'"


def is_true(flag: str, value: str) -> bool:
    """Return what a switch says.

    Raises:
        ConfigError: neither yes nor no.
    """
    if value.lower() in ("true", "1", "yes"):
        return True
    if value.lower() in ("false", "0", "no"):
        return False
    raise ConfigError(f"--{flag} is {value!r}, expected True or False.")


def _key(*names: str) -> Callable[[str], list[str]]:
    return lambda value: [f"{name}={quoted(value)}" for name in names]


def _epochs(value: str) -> list[str]:
    return [f"{{stage}}.epochs={quoted(value)}", "{stage}.steps=0"]


def _report_to(value: str) -> list[str]:
    """Take ``wandb``, ``tensorboard,wandb``, ``all`` or ``none``, as transformers' Trainer does."""
    names = {"all": "tensorboard,wandb", "none": ""}.get(value, value)
    return [f"train.report_to=[{names}]"]


def _schedule(value: str) -> list[str]:
    if value not in _SCHEDULES:
        raise ConfigError(
            f"--lr_scheduler_type {value} is not known here. Known: {', '.join(_SCHEDULES)}."
        )
    # Theirs fall to nothing; a recipe's own may stop above it.
    to_zero = ["{stage}.final_share=0.0"] if value in ("cosine", "linear") else []
    return [f"{{stage}}.schedule={_SCHEDULES[value]}", *to_zero]


def _projector(value: str) -> list[str]:
    """Read LLaVA's and VILA's names of connectors; others are Hocket's own."""
    if deep := re.fullmatch(r"mlp(\d+)x_gelu", value):
        return [f"{_CONNECTOR}.kind=mlp", f"{_CONNECTOR}.options.depth={deep[1]}"]
    if found := _DOWNSAMPLE.fullmatch(value):
        kind = f"{_CONNECTOR}.kind=mlp_downsample"
        return [kind, f"{_CONNECTOR}.options.variant={found[1] or found[2]}"]
    return [f"{_CONNECTOR}.kind={quoted(value)}"]


def _recomputing(value: str) -> list[str]:
    parts = "language" if is_true("gradient_checkpointing", value) else ""
    return [f"train.gradient_checkpointing=[{parts}]"]


def _bf16(value: str) -> list[str]:
    return [f"train.compute_dtype={'bfloat16' if is_true('bf16', value) else 'float32'}"]


FLAGS: dict[str, Callable[[str], list[str]]] = {
    "accumulate": _key("{stage}.accumulate"),
    "alpha": _key("{stage}.loss.text"),
    "audio_encoder": _key("model.audio.path"),
    "bf16": _bf16,
    "deepspeed": _key("train.deepspeed"),
    "dataloader_num_workers": _key("train.workers"),
    "gradient_accumulation_steps": _key("{stage}.accumulate"),
    "gradient_checkpointing": _recomputing,
    "llm_name_or_path": _key("model.language.path"),
    "lr_scheduler_type": _schedule,
    "max_grad_norm": _key("{stage}.max_norm"),
    "max_steps": _key("{stage}.steps"),
    "mm_projector_type": _projector,
    "mm_vision_select_layer": _key("model.vision.layer"),
    "model_init_seed": _key("model.seed"),
    "model_max_length": _key("{stage}.tokens_per_row"),
    "model_name_or_path": _key("train.init_from"),
    "model_path": _key("train.init_from"),
    "monitor_step": _key("train.monitor_step"),
    "multimodal_max_length": _key("{stage}.tokens_per_row"),
    "multiple_image_max_pixels": _key(f"{_LAYOUT}.several_max_pixels"),
    "multiple_image_min_pixels": _key(f"{_LAYOUT}.several_min_pixels"),
    "num_epochs": _epochs,
    "num_train_epochs": _epochs,
    "num_video_frames": _key("model.video.options.frames"),
    "output_dir": _key("out"),
    "report_to": _report_to,
    "save_steps": _key("train.save_every"),
    "save_total_limit": _key("train.keep"),
    "seed": _key("train.seed"),
    "single_image_max_pixels": _key(f"{_LAYOUT}.max_pixels"),
    "single_image_min_pixels": _key(f"{_LAYOUT}.min_pixels"),
    "stage1_ckpt": _key("train.init_from"),
    "stage2_ckpt": _key("train.init_from"),
    "total_time_limit": _key("train.stop_after_minutes"),
    "video_max_pixels": _key(f"{_LAYOUT}.video_max_pixels"),
    "video_min_pixels": _key(f"{_LAYOUT}.video_min_pixels"),
    "vision_tower": _key("model.vision.path"),
    "visual_vocab_size": _key(f"{_CONNECTOR}.options.vocab"),
    "vit_hidden_stride": _key("model.vision.config.hidden_stride", f"{_CONNECTOR}.options.stride"),
    "vit_name_or_path": _key("model.vision.path"),
    "vit_preserve_original_pe": _key("model.vision.config.preserve_original_pe"),
    "vit_temporal_patch_size": _key("model.vision.config.temporal_patch_size"),
    "vit_use_rope": _key("model.vision.config.use_rope"),
    "vit_window_size": _key("model.vision.config.window_size"),
    "warmup_ratio": lambda value: [
        f"{{stage}}.warmup_share={quoted(value)}",
        "{stage}.warmup_steps=0",
    ],
    "warmup_steps": lambda value: [
        f"{{stage}}.warmup_steps={quoted(value)}",
        "{stage}.warmup_share=0.0",
    ],
}


def _data_path(value: str, at: At) -> list[str]:
    """Let the stage, and no other, have the rows of a file, or of a folder with the same files."""
    if Path(value).is_dir() and (moved := _moved(Path(value), at)):
        return moved
    found = [f"{_ROWS}.path={quoted(value)}"]
    if kind := _SOURCES.get(Path(value).suffix):
        found.append(f"{_ROWS}.source={kind}")
    readers = {at.config.data.datasets[name].reader for name in at.stage.data}
    if len(readers) == 1 and readers != {"llava"}:
        found.append(f"{_ROWS}.reader={readers.pop()}")
    if len(at.config.train.stages) == 1:
        # Nobody else has data: what the run would have had is not even opened.
        chosen = any(word.startswith("data=") for word in at.plain)
        found.insert(0, "~data.datasets" if chosen else "data=one")
    return [*found, *_without_data(), "{stage}.mixture=''", "{stage}.data.rows=1.0"]


def _without_data() -> list[str]:
    """Take a stage's data sets away, which a mapping put there would only add to."""
    return ["{stage}.data.rows=1.0", "~{stage}.data"]


def _moved(folder: Path, at: At) -> list[str]:
    """Return the stage's data sets below another root; nothing if their files are not there."""
    every = at.config.data.datasets
    names = list(every) if "data_mixture" in at.flags else list(at.stage.data)
    places = [
        place
        for name in names
        for place in (str(Path(every[name].path).parent), every[name].media_root)
        if place
    ]
    if len({Path(one).is_absolute() for one in places}) != 1:
        return []
    root = os.path.commonpath(places)
    found = []
    for name in names:
        spec = every[name]
        file = folder / os.path.relpath(spec.path, root)
        if not file.exists():
            return []
        found.append(f"data.datasets.{name}.path={quoted(str(file))}")
        if spec.media_root and not any(flag in at.flags for flag in MEDIA):
            media = folder / os.path.relpath(spec.media_root, root)
            found.append(f"data.datasets.{name}.media_root={quoted(str(media))}")
    return found


def _mixture(value: str, at: At) -> list[str]:
    return [*_without_data(), f"{{stage}}.mixture={quoted(value)}"]


def _media(value: str, at: At) -> list[str]:
    """Set where media lie: of the rows that came with ``--data_path``, else of the stage's data."""
    both = [at.flags[flag] for flag in MEDIA if flag in at.flags]
    if len({os.path.normpath(one) for one in both}) > 1:
        raise ConfigError(
            f"--image_folder {both[0]} and --video_folder {both[1]} differ, but a data set has one "
            "media_root.\nGive both the folder above the two, with paths in the rows that start "
            "there."
        )
    path = at.flags.get("data_path", "")
    names = list(at.stage.data)
    if path and not (Path(path).is_dir() and _moved(Path(path), at)):
        names = ["rows"]
    return [f"data.datasets.{name}.media_root={quoted(value)}" for name in names]


def _modules(value: str, at: At) -> list[str]:
    """Let a line of modules take the place of the stage's groups."""
    groups = ["~{stage}.trainable"] if at.stage.trainable else []
    return [*groups, f"{{stage}}.train_modules={quoted(value)}"]


def _projector_alone(value: str, at: At) -> list[str]:
    """Train the connector alone, unless the stage does so already or is told what trains."""
    wanted = is_true("tune_mm_mlp_adapter", value) and "train_modules" not in at.flags
    groups = [group.match for group in at.stage.trainable.values()]
    if not wanted or (groups and all(match in _PROJECTOR for match in groups)):
        return []
    return _modules(_PROJECTOR[1], at)


def _every(key: str) -> Callable[[str, At], list[str]]:
    """Set a number of every group and adapter that the stage trains."""

    def found(value: str, at: At) -> list[str]:
        number = quoted(value)
        told = [f"{{stage}}.{key}={number}"]
        if not any(STAGED[flag](at.flags[flag], at) for flag in MODULES if flag in at.flags):
            told += [f"{{stage}}.trainable.{name}.{key}={number}" for name in at.stage.trainable]
            line = at.stage.train_modules
            if key == "lr" and ":" in line:
                items = "|".join(item.partition(":")[0].strip() for item in line.split("|"))
                told.append(f"{{stage}}.train_modules={quoted(items)}")
        return told + [f"{{stage}}.adapters.{name}.{key}={number}" for name in at.stage.adapters]

    return found


def _head(flag: str, name: str) -> Callable[[str, At], list[str]]:
    """Set the weight of a head, under the letter that VITA's guide has for it."""

    def found(value: str, at: At) -> list[str]:
        if name not in at.stage.loss.heads:
            raise ConfigError(
                f"--{flag} is the weight of the head {name!r}, which the stage {at.name!r} lacks. "
                f"Add loss.heads.{name} with its label and classes to the stage."
            )
        return [f"{{stage}}.loss.heads.{name}.weight={quoted(value)}"]

    return found


def _rows(value: str, at: At) -> list[str]:
    """Count the rows of a whole step from those of one process in one micro-batch."""
    given = (at.flags.get(flag) for flag in ("gradient_accumulation_steps", "accumulate"))
    accumulate = next((one for one in given if one), str(at.stage.accumulate))
    rows = _whole("per_device_train_batch_size", value)
    rows *= _whole("gradient_accumulation_steps", accumulate)
    return [f"{{stage}}.rows={rows * replicas(at)}"]


def replicas(at: At) -> int:
    """Return how many processes, or groups that share rows, have rows of their own."""
    known = at.processes or world_size()
    if known == 1:
        given = [at.flags[flag] for flag in ("num_gpus", "nproc_per_node") if flag in at.flags]
        known = _whole("num_gpus", given[0]) if given else 1
    return max(1, known // at.config.train.sequence_parallel.degree)


def _whole(flag: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise ConfigError(f"--{flag} is {value!r}, expected a whole number of at least 1.")
    return int(value)


# In the order in which they are read: what takes a stage's data away comes first.
STAGED: dict[str, Callable[[str, At], list[str]]] = {
    "data_path": _data_path,
    "data_mixture": _mixture,
    "image_folder": _media,
    "video_folder": _media,
    "train_modules": _modules,
    "tune_mm_mlp_adapter": _projector_alone,
    "learning_rate": _every("lr"),
    "weight_decay": _every("weight_decay"),
    "per_device_train_batch_size": _rows,
    "beta": _head("beta", "vision"),
    "gamma": _head("gamma", "audio"),
}

_LAUNCH = "processes are started by: hocket launch --gpus-per-node N -- hocket train ..."
_EVAL = "held-out data are evaluated with hocket eval, or while training with train.eval_every"
_ALONE = "the rows of a picture stand for themselves, with no token around them or in their place"
NO_MEANING = {
    "accepts_loss_kwargs": "the loss is always a mean over the tokens of the whole step",
    "attn_implementation": "attention is the one that keeps packed samples apart",
    "conversation_formatter_class": "the model's template says how dialogues are written",
    "data_type": "the reader says what rows are: data.datasets.NAME.reader",
    "eval_steps": _EVAL,
    "eval_strategy": _EVAL,
    "evaluation_strategy": _EVAL,
    "fp16": "losses are not scaled here; --bf16 computes in bfloat16",
    "group_by_modality_length": "rows are packed",
    "lazy_preprocess": "rows are always read when they are needed",
    "local_rank": _LAUNCH,
    "logging_steps": "every step is logged",
    "longvila_sampler": "the order is always exact",
    "master_port": _LAUNCH,
    "mm_use_im_patch_token": _ALONE,
    "mm_use_im_start_end": _ALONE,
    "nproc_per_node": _LAUNCH,
    "num_gpus": _LAUNCH,
    "per_device_eval_batch_size": _EVAL,
    "save_strategy": "a checkpoint is written every train.save_every steps and behind each stage",
    "stage": "every checkpoint is safetensors; a stage's name here runs that stage alone",
    "text_max_length": "the row's length holds for all samples",
    "tf32": "torch's own setting is kept",
    "version": "the model's template says how dialogues are written: model.tokenizer.template",
}
