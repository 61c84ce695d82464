"""Flags of the original trainers, as ``hocket train`` takes them: each becomes config keys.

``--data_path rows.json --learning_rate 2e-5`` of LLaVA, VILA, NaVILA, VITA, Ovis and transformers'
Trainer say what ``data.datasets.rows.path=rows.json train.stages.tune.lr=2e-5`` says, and the keys
are told. Flags without a meaning here are named with the reason; others are errors. What each of
them means is in `hocket.cli._flags`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from hocket._errors import CheckpointError, ConfigError, UnknownNameError, did_you_mean
from hocket.checkpoint.directory import find_checkpoint
from hocket.cli._compose import RunConfig, compose_run
from hocket.cli._flags import FLAGS, NO_MEANING, STAGED, SWITCHES, At, quoted, replicas
from hocket.model.config import HocketConfig

_START = "train.init_from="
_LANGUAGE = "model.language.path="
_PER_DEVICE = "per_device_train_batch_size"


class Translated(NamedTuple):
    """Overrides that flags became, and what is said about them."""

    overrides: list[str]
    notes: list[str]


class Words(NamedTuple):
    """The words of a command: overrides, and flags with their values."""

    plain: list[str]
    flags: dict[str, str]


def translate(words: Sequence[str], *, processes: int = 0) -> Translated:
    """Turn the flags among the words of a command into overrides.

    Args:
        words: ``key=value`` overrides and ``--flag value`` or ``--flag=value``.
        processes: processes that will train; 0 takes the launcher's environment, ``--num_gpus`` or
            ``--nproc_per_node``, or 1.

    Raises:
        ConfigError: a flag is unknown, lacks its value or would have no effect; or the run has
            several stages and the flag is for one.
    """
    plain, flags = split_words(words)
    named = flags.pop("stage_name", "")
    for flag in flags:
        if flag not in {*FLAGS, *STAGED, *NO_MEANING}:
            known = [*FLAGS, *STAGED, *NO_MEANING]
            raise ConfigError(
                f"no flag is called --{flag}.{did_you_mean(flag, known)} Give key=value, or a flag "
                "of docs/train.md."
            )
    found = {flag: FLAGS[flag](value) for flag, value in flags.items() if flag in FLAGS}
    composed = cache(compose_run)
    found = _with_start(plain, flags, found, composed)
    staged = any("{stage}" in text for texts in found.values() for text in texts)
    at = None
    if staged or "stage" in flags or not STAGED.keys().isdisjoint(flags):
        config = composed((*plain, *_unstaged(found)))
        alone = _alone(flags.get("stage", ""), config)
        if alone:
            found["stage"] = [f"train.only={alone}"]
        if staged or not STAGED.keys().isdisjoint(flags):
            stage = _stage(named or alone, config)
            at = At(config, stage, tuple(plain), flags, processes)
            told = {flag: tell(flags[flag], at) for flag, tell in STAGED.items() if flag in flags}
            found = {flag: _placed(texts, stage) for flag, texts in (found | told).items()}
    notes = [_note(flag, found.get(flag), at) for flag in flags]
    return Translated([*plain, *(text for texts in found.values() for text in texts)], notes)


def split_words(words: Sequence[str]) -> Words:
    """Tell overrides from flags; a flag's value may follow it.

    Raises:
        ConfigError: a flag lacks its value.
    """
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
            if not follows and name not in {*NO_MEANING, *SWITCHES}:
                raise ConfigError(f"--{name} lacks its value. Give one behind it.")
            value = left.pop(0) if follows else "true"
        flags[name] = value
    return Words(plain, flags)


def _with_start(
    plain: Sequence[str],
    flags: Mapping[str, str],
    found: Mapping[str, list[str]],
    composed: Callable[[tuple[str, ...]], RunConfig],
) -> dict[str, list[str]]:
    """Settle where the model comes from when flags describe its parts.

    A base language model and a tower make a new model; a checkpoint has its own parts.

    Raises:
        ConfigError: the run starts from a checkpoint, so that flags would have no effect.
    """
    settled = dict(found)
    parts = [
        flag for flag, texts in found.items() if any(text.startswith("model.") for text in texts)
    ]
    if not parts:
        return settled
    base = flags.get("model_name_or_path")
    if base is not None and not _is_whole(base):
        settled["model_name_or_path"] = [f"{_LANGUAGE}{quoted(base)}"]
    typed = [text.lstrip("+") for text in (*plain, *(one for v in settled.values() for one in v))]
    starts = [text[len(_START) :].strip("'\"") for text in typed if text.startswith(_START)]
    try:
        start = starts[-1] if starts else composed((*plain, *_unstaged(settled))).train.init_from
    except ConfigError:
        # Left to the user, who builds a new model; what else is wrong is told further on.
        return {"": [f"{_START}''"]} | settled
    if start and start != "null":
        raise ConfigError(
            f"--{parts[0]} has no effect: the run starts from the checkpoint {start} "
            "(train.init_from), which has its own parts. Leave one of the two out."
        )
    return settled


def _is_whole(path: str) -> bool:
    """Whether a path holds a whole model of Hocket's, not a language model alone."""
    try:
        document = json.loads((find_checkpoint(path) / "config.json").read_text(encoding="utf-8"))
    except (CheckpointError, OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("model_type") == HocketConfig.model_type


def _unstaged(found: Mapping[str, list[str]]) -> list[str]:
    return [text for texts in found.values() for text in texts if "{stage}" not in text]


def _alone(value: str, config: RunConfig) -> str:
    """Return the stage that ``--stage`` names; Ovis's number of one names none.

    Raises:
        UnknownNameError: there is no such stage.
    """
    stages = config.train.stages
    if value in stages:
        return value
    if value and not value.isdigit():
        raise UnknownNameError("stage", value, stages)
    return ""


def _stage(named: str, config: RunConfig) -> str:
    """Return the stage that flags are for: the named one, or the only one."""
    stages = list(config.train.stages)
    wanted = named or config.train.only
    if wanted and wanted not in stages:
        raise UnknownNameError("stage", wanted, stages)
    if not wanted and len(stages) != 1:
        raise ConfigError(
            f"the run has the stages {', '.join(stages)}, and the flags are for one. Say which "
            "with --stage_name NAME, or run that one alone with --stage NAME."
        )
    return wanted or stages[0]


def _placed(texts: Sequence[str], stage: str) -> list[str]:
    return [text.replace("{stage}", f"train.stages.{stage}") for text in texts]


def _note(flag: str, texts: Sequence[str] | None, at: At | None) -> str:
    """Say what a flag became; what is only taken away again is not told."""
    if texts is None:
        return f"--{flag} is not used: {NO_MEANING[flag]}"
    gone = [(number, text[1:] + ".") for number, text in enumerate(texts) if text[0] == "~"]
    left = [
        text
        for number, text in enumerate(texts)
        if text[0] != "~"
        and not any(number < where and text.startswith(key) for where, key in gone)
    ]
    shown = " ".join(left)
    if flag == _PER_DEVICE and at is not None:
        shown += f" (packed rows of a whole step; processes with rows of their own: {replicas(at)})"
    return f"--{flag}: {shown or 'as it is without'}"


def _is_override(word: str) -> bool:
    """Whether a word is ``key=value`` and no value with an equals sign in it."""
    key = word.partition("=")[0]
    return "=" in word and all(part.isidentifier() for part in key.split("."))
