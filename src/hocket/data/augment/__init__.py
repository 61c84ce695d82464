"""Augmentations: one file each, a pure function of what it changes, its options and a generator.

There are four kinds, by the moment at which they act; a new one derives from one of them:

* `ConversationAugmentation`: the conversation, before it is tokenised;
* `PixelAugmentation`: a decoded picture or the frames of a video;
* `SoundAugmentation`: a decoded sound;
* `UnitAugmentation`: encoder inputs, behind the layout.

Every draw comes from a generator of (seed, epoch, sample, medium, name), so neither the order of
reading nor the number of workers changes it.

Letters: N frames, H height, W width, L samples, U units, M mel bins, F mel frames.
"""

from __future__ import annotations

import copy
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from pydantic import TypeAdapter, ValidationError

from hocket._errors import ConfigError, did_you_mean
from hocket._registry import Registry
from hocket.chat.conversation import Conversation
from hocket.data.seed import generator
from hocket.tokens.span import Modality, Plan

REFUSAL = "no_augment"
"""Key of a row's `meta`: true, or a list of the augmentations that must leave the row alone."""
USUAL_RATE = 16000


class Augmentation(ABC):
    """What every kind shares; `dataclasses.fields` are the options.

    Attributes:
        modalities: the media it may change.
        off: options at which it changes nothing at all.
    """

    modalities: ClassVar[frozenset[Modality]]
    off: ClassVar[Mapping[str, Any]]

    def accepts(self, conversation: Conversation | None) -> bool:
        """Return whether the answers stay right when this sample's media are changed.

        Args:
            conversation: the sample, or None where media are changed without one.

        Raises:
            ConfigError: it cannot be told without the sample.
        """
        return True


class PixelAugmentation(Augmentation):
    """Changes a picture, or all frames of a video in the same way."""

    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.IMAGE, Modality.VIDEO})

    @abstractmethod
    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return uint8 (..., H, W, 3) of the shape given; the input is left as it is."""


class SoundAugmentation(Augmentation):
    """Changes a sound."""

    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.AUDIO})

    @abstractmethod
    def __call__(
        self, wave: np.ndarray, rng: np.random.Generator, *, limit: int | None, rate: int
    ) -> np.ndarray:
        """Return float32 (L',); the input is left as it is.

        Args:
            wave: float32 (L,) in -1..1.
            rng: where every draw comes from.
            limit: most samples the result may hold; None for no limit.
            rate: samples per second.
        """


class UnitAugmentation(Augmentation):
    """Changes encoder inputs behind the layout."""

    @abstractmethod
    def __call__(self, units: np.ndarray, rng: np.random.Generator, *, plan: Plan) -> np.ndarray:
        """Return float32 units of the shape given; the input is left as it is.

        Args:
            units: encoder inputs of one medium, for sound (U, M, F).
            rng: where every draw comes from.
            plan: what the layout planned for the medium.
        """


class Rows(Protocol):
    """The data set a sample belongs to: where another sample can be looked up."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Conversation:
        """Return a row."""
        ...


class SoundPatch(Protocol):
    """What a rewritten conversation does to one of its sounds once that is decoded."""

    def __call__(self, wave: np.ndarray, rng: np.random.Generator, *, rate: int) -> np.ndarray:
        """Return float32 (L,) of the length given."""
        ...


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A changed conversation.

    Attributes:
        conversation: the sample as it is tokenised; its media are those of the row, undecoded.
        sounds: index of a medium -> what is done to it when it has been decoded.
    """

    conversation: Conversation
    sounds: Mapping[int, SoundPatch] = field(default_factory=dict)


class ConversationAugmentation(Augmentation):
    """Changes a conversation before it is tokenised; nothing may be decoded to do so."""

    def accepts(self, conversation: Conversation | None) -> bool:
        """Return whether there is a sample that it may change: there must be one.

        Raises:
            ConfigError: there is none.
        """
        if conversation is None:
            name = type(self).__module__.rpartition(".")[2]
            raise ConfigError(
                f"data.augment.{name} changes conversations, but got none. "
                "Give Augmenter.bind the conversation."
            )
        return True

    @abstractmethod
    def rewrite(
        self, conversation: Conversation, rng: np.random.Generator, *, others: Rows | None
    ) -> Rewrite:
        """Return the changed conversation, with as many media in the same order.

        Args:
            conversation: the sample.
            rng: where every draw comes from.
            others: the data set that the sample is from, if there is one.
        """


augmentations: Registry[type[Augmentation]] = Registry("hocket.data.augment", noun="augmentation")


class Augmenter:
    """Every augmentation of a run.

    Args:
        options: name of an augmentation -> its options, in the order in which they apply.
        seed: seed of the run.
        rate: samples per second of the sounds it will be given, as the model's layout has them.

    Raises:
        UnknownNameError: no augmentation has that name.
        ConfigError: an option is unknown, of the wrong type or out of range.
    """

    def __init__(
        self, options: Mapping[str, Mapping[str, Any]], *, seed: int, rate: int = USUAL_RATE
    ) -> None:
        self._steps = [(name, _build(name, chosen)) for name, chosen in options.items()]
        self._seed = seed
        self._rate = rate

    @property
    def rewrites(self) -> bool:
        """Whether the tokens of a sample may differ from epoch to epoch."""
        return any(isinstance(step, ConversationAugmentation) for _, step in self._steps)

    @property
    def changed(self) -> frozenset[Modality]:
        """The media that may be changed, by whatever kind of augmentation."""
        return frozenset().union(*(step.modalities for _, step in self._steps))

    def bind(
        self,
        *,
        epoch: int,
        sample: str,
        conversation: Conversation | None = None,
        others: Rows | None = None,
    ) -> BoundAugmenter:
        """Return what is done to one sample in one epoch.

        Args:
            epoch: how often the sample was seen before.
            sample: names the sample within the run.
            conversation: the sample with every medium that the model will take.
            others: the data set that the sample is from.

        Raises:
            ConfigError: an augmentation cannot do without the conversation.
        """
        key = (self._seed, epoch, sample)
        steps = [
            (name, step)
            for name, step in self._steps
            if not _refused(conversation, name) and step.accepts(conversation)
        ]
        patches: list[tuple[str, Mapping[int, SoundPatch]]] = []
        for name, step in steps:
            if conversation is not None and isinstance(step, ConversationAugmentation):
                rewrite = step.rewrite(
                    conversation, generator(*key, "conversation", name), others=others
                )
                conversation = rewrite.conversation
                patches.append((name, rewrite.sounds))
        return BoundAugmenter(
            steps, key, rate=self._rate, conversation=conversation, sounds=patches
        )


class BoundAugmenter:
    """The augmentations of one sample in one epoch; a `MediaTransform` of the processor.

    Attributes:
        conversation: the sample as it is to be tokenised; None if `bind` got none.
    """

    def __init__(
        self,
        steps: list[tuple[str, Augmentation]],
        key: tuple[int, int, str],
        *,
        rate: int,
        conversation: Conversation | None,
        sounds: list[tuple[str, Mapping[int, SoundPatch]]],
    ) -> None:
        self.conversation = conversation
        self._steps = steps
        self._key = key
        self._rate = rate
        self._sounds = sounds
        self._numbers: tuple[int, ...] | None = None

    def renumbered(self, kept: tuple[int, ...]) -> BoundAugmenter:
        """Return what is done to the media that are left when others were cut.

        Args:
            kept: their numbers in the whole sample, so that each goes through what it would have
                gone through there.
        """
        bound = copy.copy(self)
        bound._numbers = kept
        return bound

    def __call__(
        self, modality: Modality, array: np.ndarray, *, index: int, limit: int | None
    ) -> np.ndarray:
        """Change a decoded medium: what a rewrite asks for first, then every step in order.

        Args:
            modality: what the medium is.
            array: uint8 (H, W, 3), uint8 (N, H, W, 3) or float32 (L,).
            index: number of the medium in the sample.
            limit: most samples a sound may hold.
        """
        index = self._number(index)
        for name, patches in self._sounds:
            if index in patches:
                array = patches[index](array, self._draw(index, name), rate=self._rate)
        for name, step in self._steps:
            if modality not in step.modalities:
                continue
            if isinstance(step, PixelAugmentation):
                array = step(array, self._draw(index, name))
            elif isinstance(step, SoundAugmentation):
                array = step(array, self._draw(index, name), limit=limit, rate=self._rate)
        return array

    def retouch(
        self, modality: Modality, units: np.ndarray, *, index: int, plan: Plan
    ) -> np.ndarray:
        """Change encoder inputs; a `UnitTransform` of the processor.

        Args:
            modality: what the medium is.
            units: float32 (U, ...), what the layout made of it.
            index: number of the medium in the sample.
            plan: what the layout planned for it.
        """
        index = self._number(index)
        for name, step in self._steps:
            if modality in step.modalities and isinstance(step, UnitAugmentation):
                units = step(units, self._draw(index, name), plan=plan)
        return units

    def _number(self, index: int) -> int:
        return index if self._numbers is None else self._numbers[index]

    def _draw(self, index: int, name: str) -> np.random.Generator:
        return generator(*self._key, index, name)


def _refused(conversation: Conversation | None, name: str) -> bool:
    refusal = conversation.meta.get(REFUSAL) if conversation is not None else None
    return refusal is True or (isinstance(refusal, list) and name in refusal)


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
