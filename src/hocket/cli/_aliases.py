"""Flags of the original trainers, as ``hocket train`` takes them: each becomes a config key.

``--data_path rows.json --learning_rate 2e-5`` of LLaVA, VILA, NaVILA, VITA, Ovis and transformers'
Trainer say the same as ``data=one data.datasets.rows.path=rows.json train.stages.tune.lr=2e-5``,
and the key is told. Flags without a meaning here are named with the reason; others are errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from hocket._errors import ConfigError, did_you_mean

_SCHEDULES = {
    "cosine": "cosine",
    "cosine_with_min_lr": "cosine",
    "linear": "linear",
    "constant": "constant",
    "constant_with_warmup": "constant",
}
_ROWS = "data.datasets.rows"


class Translated(NamedTuple):
    """Overrides that flags became, and what is said about them."""

    overrides: list[str]
    notes: list[str]


def _key(name: str) -> Callable[[str], list[str]]:
    return lambda value: [f"{name}={_quoted(value)}"]


def _data_path(value: str) -> list[str]:
    source = {".jsonl": "jsonl", ".parquet": "parquet", ".csv": "csv", ".tsv": "tsv"}
    found = ["data=one", f"{_ROWS}.path={_quoted(value)}"]
    kind = source.get(Path(value).suffix)
    return [*found, f"{_ROWS}.source={kind}"] if kind else found


def _epochs(value: str) -> list[str]:
    return [f"{{stage}}.epochs={_quoted(value)}", "{stage}.steps=0"]


def _report_to(value: str) -> list[str]:
    """Take ``wandb``, ``tensorboard,wandb``, ``all`` or ``none``, as transformers' Trainer does."""
    names = {"all": "tensorboard,wandb", "none": ""}.get(value, value)
    return [f"train.report_to=[{names}]"]


def _schedule(value: str) -> list[str]:
    if value not in _SCHEDULES:
        raise ConfigError(
            f"--lr_scheduler_type {value} is not known here. Known: {', '.join(_SCHEDULES)}."
        )
    return [f"{{stage}}.schedule={_SCHEDULES[value]}"]


# Where "{stage}" stands, the run's only stage is meant, or the one that --stage_name names.
FLAGS: dict[str, Callable[[str], list[str]]] = {
    "accumulate": _key("{stage}.accumulate"),
    "data_mixture": _key("{stage}.mixture"),
    "data_path": _data_path,
    "deepspeed": _key("train.deepspeed"),
    "dataloader_num_workers": _key("train.workers"),
    "gradient_accumulation_steps": _key("{stage}.accumulate"),
    "image_folder": _key(f"{_ROWS}.media_root"),
    "learning_rate": _key("{stage}.lr"),
    "lr_scheduler_type": _schedule,
    "max_grad_norm": _key("{stage}.max_norm"),
    "max_steps": _key("{stage}.steps"),
    "mm_projector_type": _key("model.vision.connector.kind"),
    "mm_vision_select_layer": _key("model.vision.layer"),
    "model_init_seed": _key("model.seed"),
    "model_max_length": _key("{stage}.tokens_per_row"),
    "model_name_or_path": _key("train.init_from"),
    "monitor_step": _key("train.monitor_step"),
    "multimodal_max_length": _key("{stage}.tokens_per_row"),
    "num_epochs": _epochs,
    "num_train_epochs": _epochs,
    "num_video_frames": _key("model.video.options.frames"),
    "llm_name_or_path": _key("model.language.path"),
    "output_dir": _key("out"),
    "per_device_train_batch_size": _key("{stage}.rows"),
    "report_to": _report_to,
    "save_steps": _key("train.save_every"),
    "save_total_limit": _key("train.keep"),
    "seed": _key("train.seed"),
    "single_image_max_pixels": _key("model.vision.layout.options.max_pixels"),
    "single_image_min_pixels": _key("model.vision.layout.options.min_pixels"),
    "stage1_ckpt": _key("train.init_from"),
    "stage2_ckpt": _key("train.init_from"),
    "total_time_limit": _key("train.stop_after_minutes"),
    "train_modules": _key("{stage}.train_modules"),
    "video_folder": _key(f"{_ROWS}.media_root"),
    "vision_tower": _key("model.vision.path"),
    "vit_name_or_path": _key("model.vision.path"),
    "warmup_ratio": _key("{stage}.warmup_share"),
    "warmup_steps": _key("{stage}.warmup_steps"),
    "weight_decay": _key("{stage}.weight_decay"),
}
NO_MEANING = {
    "accepts_loss_kwargs": "the loss is always a mean over the tokens of the whole step",
    "bf16": "numbers stay float32 on CPUs",
    "conversation_formatter_class": "the model's template says how dialogues are written",
    "evaluation_strategy": "held-out data are evaluated with hocket eval",
    "fp16": "numbers stay float32 on CPUs",
    "group_by_modality_length": "rows are packed",
    "lazy_preprocess": "rows are always read when they are needed",
    "logging_steps": "every step is logged",
    "longvila_sampler": "the order is always exact",
    "num_gpus": "processes are started by: hocket launch --gpus-per-node N -- hocket train ...",
    "per_device_eval_batch_size": "held-out data are evaluated with hocket eval",
    "save_strategy": "a checkpoint is written every train.save_every steps and behind each stage",
    "stage": "every checkpoint is safetensors",
    "text_max_length": "the row's length holds for all samples",
    "tf32": "torch's own setting is kept",
}


def translate(words: Sequence[str], stages: Callable[[list[str]], list[str]]) -> Translated:
    """Turn the flags among the words of a command into overrides.

    Args:
        words: ``key=value`` overrides and ``--flag value`` or ``--flag=value``.
        stages: returns the names of the run's stages for the other overrides.

    Raises:
        ConfigError: a flag is unknown or lacks its value, or the run has several stages and the
            flag is for one.
    """
    plain, flags = _split(words)
    wanted = flags.pop("stage_name", "")
    found: list[str] = []
    notes: list[str] = []
    for flag, value in flags.items():
        if flag in NO_MEANING:
            notes.append(f"--{flag} is not used: {NO_MEANING[flag]}")
            continue
        if flag not in FLAGS:
            known = [*FLAGS, *NO_MEANING]
            raise ConfigError(
                f"no flag is called --{flag}.{did_you_mean(flag, known)} Give key=value, or a flag "
                "of docs/train.md."
            )
        found += FLAGS[flag](value)
    if any("{stage}" in text for text in found):
        whole = [text for text in found if "{stage}" not in text]
        stage = wanted or _only(stages([*plain, *whole]))
        found = [text.replace("{stage}", f"train.stages.{stage}") for text in found]
    if any(".train_modules=" in text or ".lr=" in text for text in found):
        found += _one_line(found)
    notes += [f"{text}" for text in found]
    return Translated([*plain, *found], notes)


def _one_line(found: Sequence[str]) -> list[str]:
    """Let ``train_modules`` take the place of a stage's groups; all train where only a rate is."""
    stage = next(text for text in found if ".train_modules=" in text or ".lr=" in text)
    prefix = stage.partition("=")[0].rpartition(".")[0]
    modules = [] if any(".train_modules=" in text for text in found) else ["all"]
    return [f"~{prefix}.trainable", *(f"{prefix}.train_modules={one}" for one in modules)]


def _split(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Tell overrides from flags; a flag's value may follow it."""
    plain: list[str] = []
    flags: dict[str, str] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("--"):
            plain.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        name = name.replace("-", "_")
        if not equals:
            follows = bool(left) and not left[0].startswith("--") and not _is_override(left[0])
            if not follows and name not in NO_MEANING:
                raise ConfigError(f"--{name} lacks its value. Give one behind it.")
            value = left.pop(0) if follows else "true"
        flags[name] = value
    return plain, flags


def _is_override(word: str) -> bool:
    """Whether a word is ``key=value`` and no value with an equals sign in it."""
    key = word.partition("=")[0]
    return "=" in word and all(part.isidentifier() for part in key.split("."))


def _only(stages: Sequence[str]) -> str:
    if len(stages) != 1:
        raise ConfigError(
            f"the run has the stages {', '.join(stages)}, and the flags are for one. Say which "
            "with --stage_name NAME, or give train.stages.NAME.KEY=VALUE."
        )
    return stages[0]


def _quoted(value: str) -> str:
    """Return a value as Hydra reads it as text where it has special characters."""
    simple = all(one.isalnum() or one in "._-/" for one in value)
    return value if simple and value else "'" + value.replace("'", "\\'") + "'"
