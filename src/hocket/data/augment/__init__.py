"""Augmentations: one file each, a pure function of a decoded medium, options and a generator."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
from pydantic import TypeAdapter, ValidationError

from hocket._errors import ConfigError, did_you_mean
from hocket._registry import Registry
from hocket.data.seed import generator
from hocket.tokens.span import Modality


class Augmentation(Protocol):
    """Changes one medium; `dataclasses.fields` are its options."""

    __module__: str
    modalities: ClassVar[frozenset[Modality]]

    def __call__(
        self, array: np.ndarray, rng: np.random.Generator, *, limit: int | None
    ) -> np.ndarray:
        """Return a new array; a sound may hold at most `limit` samples."""
        ...


augmentations: Registry[type[Augmentation]] = Registry("hocket.data.augment", noun="augmentation")


class Augmenter:
    """Every augmentation of a run.

    Args:
        options: name of an augmentation -> its options, in the order in which they apply.
        seed: seed of the run.

    Raises:
        UnknownNameError: no augmentation has that name.
        ConfigError: an option is unknown or has the wrong type.
    """

    def __init__(self, options: Mapping[str, Mapping[str, Any]], *, seed: int) -> None:
        self._steps = [(name, _build(name, chosen)) for name, chosen in options.items()]
        self._seed = seed

    def bind(self, *, epoch: int, sample: str) -> BoundAugmenter:
        """Return the transform of one sample in one epoch."""
        return BoundAugmenter(self._steps, (self._seed, epoch, sample))


class BoundAugmenter:
    """The augmentations of one sample in one epoch; a `MediaTransform` of the processor."""

    def __init__(self, steps: list[tuple[str, Augmentation]], key: tuple[int, int, str]) -> None:
        self._steps = steps
        self._key = key

    def __call__(
        self, modality: Modality, array: np.ndarray, *, index: int, limit: int | None
    ) -> np.ndarray:
        """Apply every augmentation of that modality in order."""
        for name, step in self._steps:
            if modality in step.modalities:
                array = step(array, generator(*self._key, index, name), limit=limit)
        return array


def _build(name: str, options: Mapping[str, Any]) -> Augmentation:
    cls = augmentations.get(name)
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type] # every augmentation is a dataclass
    for key in options:
        if key not in known:
            hint = did_you_mean(key, known)
            raise ConfigError(
                f"data.augment.{name} has no option {key!r}.{hint} Known: {', '.join(known)}."
            )
    try:
        return TypeAdapter(cls).validate_python(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"data.augment.{name}.{key}: {first['msg']}, found {first['input']!r}."
        ) from error
