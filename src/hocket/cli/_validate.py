"""From plain dictionaries to the dataclasses of a run, with errors that name the key.

Takes what YAML can hold and gives frozen dataclasses. It must not know Hydra, files or the command
line. Nothing is converted on the quiet: text is never a number, true is never 1.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

from hocket._errors import ConfigError, did_you_mean

Schema = TypeVar("Schema", bound=BaseModel)
Tree = dict[str, Any]

_PLAIN = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_MISSING = ("missing", "missing_argument", "missing_keyword_only_argument")


class _Place(NamedTuple):
    """A key of a config and the type that belongs there."""

    steps: tuple[str, ...]
    hint: Any

    @property
    def key(self) -> str:
        """The key as it is typed: ``train.stages.joint.steps``."""
        return ".".join(self.steps)


def validate(schema: type[Schema], tree: Tree) -> Schema:
    """Turn a dictionary into `schema`.

    Args:
        schema: pydantic model that forbids extra keys; its dataclasses inherit that.
        tree: what the config says.

    Raises:
        ConfigError: a key is unknown, missing or has a wrong value; the message names the key.
    """
    try:
        # JSON is where pydantic's strict mode still takes lists as tuples and names as enums.
        found = schema.model_validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        raise ConfigError(_explain(schema, tree, error)) from None
    _check_limits("", schema, tree)
    return found


def _explain(schema: type[BaseModel], tree: Tree, error: ValidationError) -> str:
    """Return one message; a misspelt key comes before what is missing because of it."""
    faults = sorted(
        error.errors(include_url=False), key=lambda fault: fault["type"] not in _UNKNOWN
    )
    first = faults[0]
    place = _locate(schema, first["loc"])
    others = {_locate(schema, fault["loc"]).key for fault in faults} - {place.key}
    more = f" (And {len(others)} more.)" if others else ""
    if first["type"] in _UNKNOWN:
        name = str(first["loc"][-1])
        known = _keys(place.hint)
        return (
            f"{place.key}: there is no such key.{did_you_mean(name, known)} "
            f"Known: {', '.join(known)}.{more}"
        )
    expected = _describe(place.hint)
    # Below a list or a union pydantic goes on counting; the value as a whole is wrong then.
    whole = len(place.steps) == len(first["loc"])
    if first["type"] in _MISSING and whole:
        return f"{place.key} is missing, expected {expected}. Add it to the config.{more}"
    found: Any = tree
    for step in first["loc"][: len(place.steps)]:
        found = found[step]
    hint = _name_hint(place.hint, found)
    return f"{place.key}: found {_show(found)}, expected {expected}.{hint}{more}"


def _locate(schema: type[BaseModel], loc: Sequence[int | str]) -> _Place:
    """Follow pydantic's location through the types; stop where it only names union members.

    The hint of an unknown key is that of the mapping around it.
    """
    hint: Any = schema
    keys: list[str] = []
    for step in loc:
        inner = _solid(hint)
        fields = _fields(inner)
        if fields is not None:
            keys.append(str(step))
            if step not in fields:
                break
            hint = fields[str(step)]
        elif get_origin(inner) is dict:
            keys.append(str(step))
            hint = get_args(inner)[1]
        else:
            break
    return _Place(tuple(keys), hint)


def _solid(hint: Any) -> Any:
    """Return X of ``X | None``; anything else as it is."""
    if get_origin(hint) is types.UnionType:
        members = [member for member in get_args(hint) if member is not type(None)]
        return members[0] if len(members) == 1 else hint
    return hint


def _fields(hint: Any) -> Mapping[str, Any] | None:
    """Return the field types of a dataclass or model, None for anything else."""
    if not isinstance(hint, type):
        return None
    if dataclasses.is_dataclass(hint) or issubclass(hint, BaseModel):
        names = (
            [field.name for field in dataclasses.fields(hint)]
            if dataclasses.is_dataclass(hint)
            else list(hint.model_fields)
        )
        hints = get_type_hints(hint)
        return {name: hints[name] for name in names}
    return None


def _keys(hint: Any) -> list[str]:
    return list(_fields(_solid(hint)) or {})


def _describe(hint: Any) -> str:
    """Say in words what a type takes."""
    inner = _solid(hint)
    if inner in _PLAIN:
        return _PLAIN[inner]
    if _fields(inner) is not None:
        return f"a mapping with the keys {', '.join(_keys(inner))}"
    if isinstance(inner, type) and issubclass(inner, Enum):
        return "one of " + ", ".join(str(member.value) for member in inner)
    if get_origin(inner) is dict:
        return "a mapping of names"
    if get_origin(inner) is tuple:
        return f"a list of {len(get_args(inner))} values"
    return "a number, text, true, false, null or a list of numbers"


def _name_hint(hint: Any, found: Any) -> str:
    inner = _solid(hint)
    if isinstance(inner, type) and issubclass(inner, Enum) and isinstance(found, str):
        return did_you_mean(found, [str(member.value) for member in inner])
    if inner is str and isinstance(found, int | float):
        return " Put it in quotes: \"'...'\" on the command line."
    return ""


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


_LEAST = {
    "accumulate": 1,
    "audio_frames_per_row": 0,
    "batch_size": 1,
    "cache_mb": 0,
    "dashboard": 0,
    "decode_deadline_seconds": 0,
    "drop": 0,
    "keep": 1,
    "limit": 0,
    "log_every": 0,
    "lr": 0,
    "max_new_tokens": 1,
    "patches_per_row": 0,
    "pool": 1,
    "previews": 0,
    "rows": 1,
    "save_every": 0,
    "epochs": 0,
    "eval_every": 0,
    "eval_limit": 1,
    "loss_weight": 0,
    "monitor_step": 0,
    "steps": 0,
    "stop_after_minutes": 0,
    "tokens_per_row": 2,
    "vocab_size": 1,
    "warmup_steps": 0,
    "watchdog_seconds": 0,
    "weight_decay": 0,
    "workers": 0,
}
_SHARES = ("final_share", "max_bad_share", "warmup_share")
_ABOVE_ZERO = ("max_norm", "weight")


def _check_limits(key: str, hint: Any, value: Any) -> None:
    """Check every number that is a field of a dataclass against the limits of its name.

    Raises:
        ConfigError: a number is outside; the message names its key.
    """
    if not isinstance(value, dict):
        return
    inner = _solid(hint)
    fields = _fields(inner)
    for name, item in value.items():
        where = f"{key}.{name}" if key else str(name)
        if fields is not None and isinstance(item, int | float):
            _check_number(where, item)
        elif fields is not None:
            _check_limits(where, fields[name], item)
        elif get_origin(inner) is dict:
            _check_limits(where, get_args(inner)[1], item)


def _check_number(key: str, value: float) -> None:
    name = key.rpartition(".")[2]
    if name in _LEAST and value < _LEAST[name]:
        raise ConfigError(f"{key} is {value}, expected {_LEAST[name]} or more. Change it.")
    if name in _SHARES and not 0 <= value <= 1:
        raise ConfigError(f"{key} is {value}, expected a share between 0 and 1. Change it.")
    if name in _ABOVE_ZERO and value <= 0:
        raise ConfigError(f"{key} is {value}, expected more than 0. Change it.")
