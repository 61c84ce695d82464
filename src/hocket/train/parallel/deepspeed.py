"""DeepSpeed's JSON files: read as this trainer's own options, or for DeepSpeed itself.

Unless ``train.sharding`` is ``deepspeed``, deepspeed itself is not used: ZeRO-3 is FSDP2, ZeRO-2 is
FSDP2 that keeps weights until the backward pass is over. What learns the same in another layout,
such as ZeRO-1 or MiCS, gets the nearest one and a note. What only tunes DeepSpeed's own buffers is
named in a note, and what would train something else is refused. docs/train.md has the table.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hocket._errors import ConfigError, MissingExtraError
from hocket._log import warn
from hocket.train.parallel import ComputeDtype, FsdpSpec, Sharding

if TYPE_CHECKING:
    from hocket.train.recipe import Recipe, Stage

AUTO = "auto"
TUNING = {
    "allgather_bucket_size",
    "allgather_partitions",
    "contiguous_gradients",
    "overlap_comm",
    "reduce_bucket_size",
    "reduce_scatter",
    "round_robin_gradients",
    "stage3_gather_16bit_weights_on_model_save",
    "gather_16bit_weights_on_model_save",
    "stage3_max_live_parameters",
    "stage3_max_reuse_distance",
    "stage3_param_persistence_threshold",
    "stage3_prefetch_bucket_size",
    "sub_group_size",
}
"""Keys of ``zero_optimization`` that change how fast DeepSpeed is, not what is learned."""
OURS = {
    "gradient_accumulation_steps": "train.stages.*.accumulate",
    "optimizer": "lr, weight_decay and betas of the recipe",
    "scheduler": "train.stages.*.schedule and warmup_steps",
    "train_batch_size": "train.stages.*.rows",
    "train_micro_batch_size_per_gpu": "train.stages.*.rows",
    "steps_per_print": "every step is logged",
    "wall_clock_breakdown": "every step's time is logged",
}
"""Keys whose place the recipe takes."""
GROUPS = ("mics_shard_size", "zero_hpz_partition_size")
"""Keys of ``zero_optimization`` that let a group of processes hold a copy of the weights."""
QUANTISED = (
    "zero_quantized_weights",
    "zero_quantized_nontrainable_weights",
    "zero_quantized_gradients",
)
"""Keys of ``zero_optimization`` that send numbers in a few bits, which changes what is learned."""


_PASSED = {"stage", "offload_optimizer", "offload_param", *TUNING} - {
    "stage3_gather_16bit_weights_on_model_save",
    "gather_16bit_weights_on_model_save",
}
"""Keys of ``zero_optimization`` that DeepSpeed itself is given."""


def with_deepspeed(recipe: Recipe) -> Recipe:
    """Return the recipe with the options of the file that ``train.deepspeed`` names.

    With ``sharding: deepspeed`` the rest of the file is left for `engine_options`.

    Raises:
        ConfigError: the file is missing or no JSON, or it asks for what has no equal here, or what
            does not run beneath DeepSpeed itself.
        MissingExtraError: DeepSpeed itself is to run and is not installed.
    """
    itself = recipe.sharding is Sharding.DEEPSPEED
    if not recipe.deepspeed:
        if itself:
            raise ConfigError(
                "train.sharding is deepspeed, but train.deepspeed names no file of its options. "
                "Set train.deepspeed=FILE.json, or train.sharding=fsdp."
            )
        return recipe
    file = Path(recipe.deepspeed)
    found = _read(file)
    zero = _object(file, found, "zero_optimization")
    fsdp = _fsdp(file, recipe, zero)
    half, brain = (_switch(file, found, name) for name in ("fp16", "bf16"))
    if half:
        raise _no_equal(file, "fp16.enabled", "losses are not scaled here; use bf16")
    computed = ComputeDtype.BFLOAT16 if brain else recipe.compute_dtype
    if itself:
        _check_itself(file, recipe, found, zero)
        return replace(
            recipe,
            stages=_clipped(file, found, recipe),
            fsdp=fsdp,
            compute_dtype=computed,
            compile_blocks=False,
            log_every=0,
            monitor_step=0,
        )
    sharding = Sharding.FSDP if zero.get("stage", 0) else Sharding.DDP
    warn(
        f"{file}: read as train.sharding={sharding}; DeepSpeed itself does not run. To let it: "
        "train.sharding=deepspeed"
    )
    if brain and sharding is Sharding.FSDP:
        fsdp = replace(fsdp, compute_dtype="bfloat16", reduce_dtype="float32")
    compiled = _switch(file, found, "compile")
    _tell(file, found, zero)
    return replace(
        recipe,
        stages=_clipped(file, found, recipe),
        sharding=sharding,
        fsdp=fsdp,
        compute_dtype=computed,
        compile_blocks=recipe.compile_blocks if compiled is None else compiled,
        deepspeed="",
    )


def engine_options(recipe: Recipe, *, width: int, tell: bool) -> dict[str, Any]:
    """Return what DeepSpeed itself is started with: the file's ZeRO, and nothing of its loop.

    Args:
        recipe: its sharding is ``deepspeed``, and `with_deepspeed` has checked it.
        width: of the language model; what the file leaves to ``auto`` follows from it, as in
            transformers.
        tell: whether to name what the file holds and this run does not use.
    """
    file = Path(recipe.deepspeed)
    found = _read(file)
    zero = _object(file, found, "zero_optimization")
    if tell:
        _tell_itself(file, found, zero)
    chosen = {
        "reduce_bucket_size": width * width,
        "stage3_prefetch_bucket_size": int(0.9 * width * width),
        "stage3_param_persistence_threshold": 10 * width,
    }
    chosen |= {key: value for key, value in zero.items() if value != AUTO and key in _PASSED}
    options: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        # Micro-batches are counted by the loop, gradients clipped before DeepSpeed's step.
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 0.0,
        "zero_optimization": chosen,
        "zero_force_ds_cpu_optimizer": False,
    }
    if recipe.compute_dtype is ComputeDtype.BFLOAT16:
        # Gradients of no module are exchanged in it.
        options["torch_autocast"] = {
            "enabled": True,
            "dtype": "bfloat16",
            "lower_precision_safe_modules": [],
        }
    return options


def _check_itself(
    file: Path, recipe: Recipe, found: Mapping[str, Any], zero: Mapping[str, Any]
) -> None:
    """Check that a run can go beneath DeepSpeed itself."""
    if find_spec("deepspeed") is None:
        raise MissingExtraError("deepspeed", "deepspeed")
    _refuse_unknown(file, found, zero)
    without = "or set train.sharding=fsdp, which takes it"
    if zero.get("stage", 0) not in (2, 3):
        raise ConfigError(
            f"train.deepspeed: {file}: zero_optimization.stage is {zero.get('stage', 0)}, but "
            "DeepSpeed itself runs stages 2 and 3 here. Set one, or leave train.sharding out."
        )
    if grouped := [key for key in GROUPS if zero.get(key, 1) not in (-1, 1)]:
        raise ConfigError(
            f"train.deepspeed: {file}: {', '.join(grouped)}: DeepSpeed itself runs here with "
            f"shares over all processes only. Take it out of the file, {without}."
        )
    if recipe.sequence_parallel.degree > 1:
        raise ConfigError(
            "train.sharding=deepspeed does not share rows among processes. Take "
            f"train.sequence_parallel out, {without}."
        )
    if pairs := [name for name, stage in recipe.stages.items() if stage.preference]:
        raise ConfigError(
            f"stage {pairs[0]!r} learns from preferences, which does not run with "
            f"train.sharding=deepspeed. Take the stage out, {without}."
        )
    if headed := [name for name, stage in recipe.stages.items() if stage.loss.heads]:
        raise ConfigError(
            f"stage {headed[0]!r} has loss.heads, which do not run with train.sharding=deepspeed. "
            f"Take them out, {without}."
        )


def _tell_itself(file: Path, found: Mapping[str, Any], zero: Mapping[str, Any]) -> None:
    """Name what a file for DeepSpeed itself holds and the run does not use."""
    _tell_ours(file, found)
    if unused := sorted(set(zero) & TUNING - _PASSED):
        warn(f"{file}: not used, the whole model is gathered for each save: {', '.join(unused)}")
    if _switch(file, found, "compile"):
        warn(f"{file}: compile is not used with train.sharding=deepspeed.")
    warn(
        "with train.sharding=deepspeed norms of parts and records of parameters are not measured: "
        "train.log_every and train.monitor_step are off."
    )


def _clipped(file: Path, found: Mapping[str, Any], recipe: Recipe) -> dict[str, Stage]:
    """Return the stages with the file's limit for the norm of gradients."""
    clip = found.get("gradient_clipping", AUTO)
    if clip == AUTO:
        return recipe.stages
    # 0 is no limit to DeepSpeed; there is none such here.
    if isinstance(clip, bool) or not isinstance(clip, int | float) or not 0 < clip < math.inf:
        raise ConfigError(
            f"train.deepspeed: {file}: gradient_clipping is {clip!r}, expected a number above 0 or "
            "auto. Correct it, or take it out."
        )
    return {name: replace(one, max_norm=float(clip)) for name, one in recipe.stages.items()}


def _fsdp(file: Path, recipe: Recipe, zero: Mapping[str, Any]) -> FsdpSpec:
    stage = zero.get("stage", 0)
    if isinstance(stage, bool) or stage not in (0, 1, 2, 3):
        raise _no_equal(file, f"zero_optimization.stage {stage!r}", "stages 0, 1, 2 and 3 have one")
    offload = {
        str(_object(file, zero, key).get("device", "none"))
        for key in ("offload_optimizer", "offload_param")
    }
    if "nvme" in offload:
        raise _no_equal(file, "offloading to nvme", "only cpu has one")
    for key in QUANTISED:
        if zero.get(key, False) is not False:
            raise _no_equal(
                file, f"zero_optimization.{key}", "what processes exchange is never quantised"
            )
    return replace(recipe.fsdp, reshard=stage not in (1, 2), cpu_offload="cpu" in offload)


def _tell(file: Path, found: Mapping[str, Any], zero: Mapping[str, Any]) -> None:
    """Name what the file holds and this run does not use."""
    _tell_ours(file, found)
    if unused := sorted(set(zero) & TUNING):
        warn(f"{file}: not used, they tune DeepSpeed's own buffers: {', '.join(unused)}")
    if zero.get("stage") == 1:
        warn(
            f"{file}: ZeRO-1 is taken as fsdp with reshard=false: weights and gradients rest in "
            "shares as well, which takes less memory. What is learned is the same."
        )
    if grouped := [key for key in GROUPS if zero.get(key, 1) not in (-1, 1)]:
        warn(
            f"{file}: {', '.join(grouped)}: shares lie over all processes here, not over groups of "
            "them: less memory, more exchange between machines. What is learned is the same."
        )
    _refuse_unknown(file, found, zero)


def _tell_ours(file: Path, found: Mapping[str, Any]) -> None:
    for key, ours in OURS.items():
        if found.get(key, AUTO) != AUTO:
            warn(f"{file}: {key} is not used; in its place: {ours}")


def _refuse_unknown(file: Path, found: Mapping[str, Any], zero: Mapping[str, Any]) -> None:
    known = {"stage", "offload_optimizer", "offload_param", *TUNING, *GROUPS, *QUANTISED}
    known |= {"mics_hierarchical_params_gather"}
    top = {"zero_optimization", "fp16", "bf16", "compile", "gradient_clipping", *OURS}
    unknown = [f"zero_optimization.{key}" for key in zero if key not in known]
    unknown += [key for key in found if key not in top]
    if unknown:
        raise _no_equal(file, ", ".join(sorted(unknown)), "take it out of the file")


def _read(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"train.deepspeed: {file} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"train.deepspeed: {file} holds no JSON object.")
    return found


def _object(file: Path, parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = parent.get(key, {})
    if not isinstance(found, dict):
        raise ConfigError(f"train.deepspeed: {file}: {key} is no JSON object.")
    return found


def _switch(file: Path, found: Mapping[str, Any], key: str) -> bool | None:
    """Return whether a part of the file is enabled; None leaves it to the recipe."""
    value = _object(file, found, key).get("enabled", AUTO)
    if value == AUTO:
        return None
    if not isinstance(value, bool):
        raise ConfigError(
            f"train.deepspeed: {file}: {key}.enabled is {value!r}, expected true, false or auto. "
            "Correct it."
        )
    return value


def _no_equal(file: Path, what: str, why: str) -> ConfigError:
    return ConfigError(f"train.deepspeed: {file}: {what} has no equal here: {why}.")
