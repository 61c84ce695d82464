"""Options of a part: from ``{"kind": name, option: value}`` to the part's own dataclass."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from hocket._errors import ConfigError, did_you_mean

Config = TypeVar("Config")


def read_options(noun: str, cls: type[Config], options: Mapping[str, Any]) -> Config:
    """Build a part's dataclass of options.

    Args:
        noun: what the part is called in messages, such as ``connector``.
        cls: the dataclass.
        options: the part's ``kind`` and its options.

    Raises:
        ConfigError: an option is unknown or has the wrong type.
    """
    kind = options.get("kind")
    chosen = {key: value for key, value in options.items() if key != "kind"}
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type] # every such class is a dataclass
    for key in chosen:
        if key not in names:
            hint = did_you_mean(key, names)
            known = f"Known: {', '.join(names)}." if names else "It takes none."
            raise ConfigError(f"{noun} {kind!r} has no option {key!r}.{hint} {known}")
    try:
        return TypeAdapter(cls).validate_python(chosen)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{noun} {kind!r}, option {key!r}: {first['msg']}, found {first['input']!r}."
        ) from error
