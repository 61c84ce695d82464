"""Layouts: how one medium is cut into encoder inputs. Pure arithmetic and numpy, no weights.

A layout is the preprocessing that a checkpoint carries: the options of the dataclass are exactly
what is written to ``processor_config.json``, the connector's reduction included.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from pydantic import TypeAdapter, ValidationError

from hocket._errors import ConfigError, did_you_mean
from hocket._registry import Registry
from hocket.tokens.span import Plan

OptionValue = int | float | str | bool | list[int] | list[float] | None


class Layout(Protocol):
    """What every layout can do; `dataclasses.fields` are its options."""

    __module__: str


class ImageLayout(Layout, Protocol):
    """Cuts a picture or a video frame into encoder units of one size."""

    def plan(self, height: int, width: int) -> Plan:
        """Return units, patches and rows of a picture of that size."""
        ...

    def units(self, pixels: np.ndarray) -> np.ndarray:
        """Turn uint8 (H, W, 3) into float32 (U, 3, S, S)."""
        ...


class AudioLayout(Layout, Protocol):
    """Cuts a sound into encoder units of one length."""

    rate: int

    def plan(self, samples: int) -> Plan:
        """Return units, valid encoder frames and rows of that many samples."""
        ...

    def capacity(self, plan: Plan) -> int:
        """Return the longest sound, in samples, that keeps the plan."""
        ...

    def units(self, wave: np.ndarray, plan: Plan) -> np.ndarray:
        """Turn float32 (L,) into float32 (U, M, F)."""
        ...

    def lengths(self, plan: Plan) -> list[int]:
        """Return the encoder frames of each unit that are not padding."""
        ...


layouts: Registry[type[Layout]] = Registry("hocket.tokens.layout", noun="layout")


def options_of(layout: Layout) -> dict[str, OptionValue]:
    """Return ``{"kind": name, option: value, ...}``: what is saved with a checkpoint."""
    kind = type(layout).__module__.rpartition(".")[2]
    fields = dataclasses.asdict(layout)  # type: ignore[call-overload] # every layout is a dataclass
    return {"kind": kind} | {
        key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()
    }


def layout_from(options: Mapping[str, OptionValue]) -> Layout:
    """Build a layout from what `options_of` returned.

    Raises:
        UnknownNameError: no layout has that kind.
        ConfigError: an option is unknown or has the wrong type.
    """
    known = dict(options)
    kind = str(known.pop("kind", ""))
    cls = layouts.get(kind)
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type] # as above
    for key in known:
        if key not in names:
            hint = did_you_mean(key, names)
            raise ConfigError(
                f"layout {kind!r} has no option {key!r}.{hint} Known: {', '.join(names)}."
            )
    try:
        return TypeAdapter(cls).validate_python(known)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"layout {kind!r}, option {key!r}: {first['msg']}, found {first['input']!r}."
        ) from error
