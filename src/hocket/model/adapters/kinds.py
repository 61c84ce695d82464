"""The methods an adapter can use: every tuner of peft that changes single layers, and MoRA.

Some names are one method with an option set, as people know them: ``dora``, ``rslora``, ``pissa``.
"""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from peft.config import PeftConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTuner
from peft.utils import PeftType
from torch import nn

from hocket._errors import ConfigError, UnknownNameError, did_you_mean
from hocket.model.adapters import mora

# Known by names of their own, though peft has them as options of LoRA.
_VARIANTS: dict[str, dict[str, object]] = {
    "dora": {"use_dora": True},
    "rslora": {"use_rslora": True},
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
}
# These change the layers' own weights when they begin.
RESIDUAL = ("pissa", "olora")
# These add a matrix to the weights and do nothing else.
ADDED = ("lora", "rslora", "loha", "lokr", "mora", "vera")
REFUSED = {
    "adalora": "it must change its ranks between the steps of a loop of its own",
    "poly": "it needs a task id with each sample",
    "shadow": "it adds a second model beside the first, not to its layers",
    "trainable_tokens": "it adds token rows, which a group on the token table trains here",
    "frod": "it decomposes with sparse tensors that torch does not check",
    "shira": "it keeps sparse tensors that torch does not check",
}
_OWN = ("target_modules", "peft_type", "inference_mode", "task_type", "modules_to_save")


def kinds() -> tuple[str, ...]:
    """Return the names of all methods that can be chosen."""
    tuners = {
        kind.value.lower()
        for kind, tuner in PEFT_TYPE_TO_TUNER_MAPPING.items()
        if issubclass(tuner, BaseTuner) and _has_targets(PEFT_TYPE_TO_CONFIG_MAPPING[kind])
    }
    return tuple(sorted({*tuners, *_VARIANTS, "mora"} - {*REFUSED}))


def family(kind: str) -> str:
    """Return the tuner behind a method, as ``adapter_config.json`` names it."""
    return "LORA" if kind in _VARIANTS else kind.upper()


def is_residual(kind: str, options: Mapping[str, object]) -> bool:
    """Return whether a method takes something from the layers' own weights when it begins.

    Args:
        kind: the method.
        options: its options; LoRA's own ``init_lora_weights: pissa`` is such a method too.
    """
    begins = {**_VARIANTS.get(kind, {}), **options}.get("init_lora_weights")
    return (
        family(kind) == "LORA" and isinstance(begins, str) and begins.lower().startswith(RESIDUAL)
    )


def options_of(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options in a configuration that another program wrote."""
    if kind == "mora" or kind not in kinds():
        return {key: value for key, value in config.items() if key != "peft_type"}
    known = _options(PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(family(kind))])
    return {key: value for key, value in config.items() if key in known and value is not None}


def inject(
    model: nn.Module,
    name: str,
    *,
    kind: str,
    targets: Sequence[str],
    options: Mapping[str, object],
    fresh: bool,
) -> dict[str, object]:
    """Put an adapter into layers and return its configuration.

    Args:
        model: the model, changed in place.
        name: the adapter's name.
        kind: the method.
        targets: full names of the layers.
        options: the method's options.
        fresh: let the method initialise as its options say; False keeps it from touching the
            layers' own weights.

    Raises:
        ConfigError: the method cannot be used, or an option is wrong.
        UnknownNameError: there is no such method.
    """
    _check_known(name, kind)
    if kind == "mora":
        return mora.inject(model, name, targets=targets, options=options)
    chosen = {**_VARIANTS.get(kind, {}), **options}
    if not fresh and is_residual(kind, options):
        chosen["init_lora_weights"] = True
    try:
        with warnings.catch_warnings():
            # They tell of options that are set here, and of files that are written elsewhere.
            warnings.simplefilter("ignore")
            config = _config(name, kind, chosen, targets)
            PEFT_TYPE_TO_TUNER_MAPPING[PeftType(family(kind))](model, config, name)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise _refused(name, kind, error) from error
    # peft leaves its own record on the model; ours is the one that is kept.
    del model.peft_config
    return {
        key: sorted(value) if isinstance(value, set) else value
        for key, value in config.to_dict().items()
    } | {"peft_type": family(kind)}


def check_kind(
    name: str, kind: str, options: Mapping[str, object], *, targets: Sequence[str]
) -> None:
    """Check a method and its options without putting anything into a model.

    Arguments and errors are those of `inject`.
    """
    _check_known(name, kind)
    if kind == "mora":
        mora.read_mora(options)
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _config(name, kind, {**_VARIANTS.get(kind, {}), **options}, targets)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise _refused(name, kind, error) from error


def _check_known(name: str, kind: str) -> None:
    if kind in REFUSED:
        raise ConfigError(f"adapter {name!r}: {kind} is not supported: {REFUSED[kind]}.")
    if kind not in kinds():
        raise UnknownNameError("adapter kind", kind, kinds())


def _refused(name: str, kind: str, error: Exception) -> ConfigError:
    reason = str(error).partition("\n")[0].rstrip(".")
    return ConfigError(f"adapter {name!r} ({kind}): {reason}.")


def _config(
    name: str, kind: str, options: Mapping[str, object], targets: Sequence[str]
) -> PeftConfig:
    cls: Any = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(family(kind))]
    known = _options(cls)
    for option in options:
        if option not in known:
            raise ConfigError(
                f"adapter {name!r}: {kind} has no option {option!r}."
                f"{did_you_mean(option, known)} Known: {', '.join(sorted(known))}."
            )
    pattern = "|".join(re.escape(target) for target in targets)
    extra: dict[str, Any] = {}
    if "feedforward_modules" in known and "feedforward_modules" not in options:
        extra["feedforward_modules"] = []
    if "save_projection" in known and "save_projection" not in options:
        extra["save_projection"] = False
    config: PeftConfig = cls(target_modules=f"(?:{pattern})", **extra, **options)
    return config


def _options(cls: type[PeftConfig]) -> list[str]:
    return [one.name for one in dataclasses.fields(cls) if one.init and one.name not in _OWN]


def _has_targets(cls: type[PeftConfig]) -> bool:
    return any(one.name == "target_modules" for one in dataclasses.fields(cls))
