"""Media into encoder units: planned from their headers, decoded, changed, cut by a layout.

Knows the layouts of one checkpoint and its frame sampler; must not know tokens or a tokenizer.
Letters: U encoder units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from torch import Tensor

from hocket._errors import AlignmentError, ConfigError, MediaError
from hocket.chat.conversation import Medium
from hocket.media.audio import Audio, Mix
from hocket.media.frames import Fewer, FrameSampler
from hocket.media.image import Image
from hocket.media.video import Video
from hocket.tokens.example import Outline
from hocket.tokens.layout import AudioLayout, ImageLayout, options_of
from hocket.tokens.span import Modality, Plan

LEAST_FRAMES = 2
"""Frames that a video keeps when it is shortened: its first and its last."""


class MediaTransform(Protocol):
    """Changes decoded media before they become encoder inputs: an augmentation.

    ``array`` is uint8 (H, W, 3) for a picture, uint8 (N, H, W, 3) for a video, float32 (L,) for
    a sound, whose result may hold at most `limit` samples. `index` counts the media of a sample.
    """

    def __call__(
        self, modality: Modality, array: np.ndarray, *, index: int, limit: int | None
    ) -> np.ndarray:
        """Return the changed medium in a new array."""
        ...


class UnitTransform(Protocol):
    """Changes encoder inputs behind the layout: an augmentation of spectra.

    ``units`` is float32 (U, M, F) of a sound. `index` counts the media of a sample.
    """

    def __call__(
        self, modality: Modality, units: np.ndarray, *, index: int, plan: Plan
    ) -> np.ndarray:
        """Return the changed units, of the same shape, in a new array."""
        ...


class FeatureSource(Protocol):
    """Knows what frozen towers make of media, so that those need not be decoded."""

    @property
    def modalities(self) -> frozenset[Modality]:
        """The media that it knows, all of them."""
        ...

    def find(self, modality: Modality, medium: Medium, plan: Plan) -> tuple[Tensor, Tensor | None]:
        """Return tower features (U, P, C) of a medium and, of a video, float32 (U,) seconds.

        Raises:
            MediaError: it is not known.
        """
        ...


@dataclass(frozen=True, slots=True)
class MediaCutter:
    """The layouts of a checkpoint.

    Attributes:
        images: layout of pictures, or None without eyes.
        films: layout of video frames, or None.
        sounds: layout of sounds, or None without ears.
        sampler: which frames of a video are seen, or None.
    """

    images: ImageLayout | None
    films: ImageLayout | None
    sounds: AudioLayout | None
    sampler: FrameSampler | None

    @property
    def mix(self) -> Mix:
        """What several channels of a sound become: the layout's option, or their mean."""
        options = options_of(self.sounds) if self.sounds else {}
        return "first" if options.get("mix") == "first" else "mean"

    def after(self, kind: Modality) -> tuple[str, ...]:
        """Return the texts behind each piece of a medium of that kind."""
        layout = {Modality.IMAGE: self.images, Modality.VIDEO: self.films}.get(kind)
        return layout.after if layout else ()

    def lengths(self, plan: Plan, source: str) -> list[int]:
        """Return the encoder frames of each unit of a sound that are not padding."""
        return self._need_sounds(source).lengths(plan)

    def plans(self, media: Sequence[Medium], source: str) -> list[Plan]:
        """Plan the media of a sample from their headers.

        Raises:
            MediaError: a header cannot be read.
            ConfigError: the model has no encoder for a medium.
        """
        pictures = sum(isinstance(medium, Image) for medium in media)
        return [self._plan(medium, pictures, source) for medium in media]

    def _plan(self, medium: Medium, pictures: int, source: str) -> Plan:
        if isinstance(medium, Audio):
            layout = self._need_sounds(source)
            samples = medium.frames(layout.rate, resampler=layout.resampler)
            try:
                return layout.plan(samples)
            except MediaError as error:
                raise MediaError(f"{source}: {medium.where.name}: {error}") from error
        if isinstance(medium, Image):
            return self._need_images(source).plan(*medium.size(), media=pictures)
        films, sampler = self._need_films(source)
        info = medium.probe()
        return films.plan(info.height, info.width, frames=medium.pick_count(sampler))

    def smaller(self, medium: Medium, plan: Plan, source: str, *, pictures: int) -> Plan | None:
        """Return a smaller plan of a medium, or None where it is as small as it may get.

        A picture loses pixels, as its layout says; a video an eighth of its frames, down to two; a
        sound an eighth of its samples from the end, down to one second.

        Args:
            medium: the picture, video or sound.
            plan: what was planned for it so far.
            source: names the sample in messages.
            pictures: pictures in the sample, where they share a budget of pixels.
        """
        if isinstance(medium, Image):
            height, width = medium.size()
            return self._need_images(source).smaller(plan, height, width, media=pictures)
        if isinstance(medium, Audio):
            layout = self._need_sounds(source)
            before = plan.kept or medium.frames(layout.rate, resampler=layout.resampler)
            kept = max(before * 7 // 8, layout.rate)
            return replace(layout.plan(kept), kept=kept) if kept < before else None
        films, sampler = self._need_films(source)
        before = plan.kept or medium.pick_count(sampler)
        kept = max(before * 7 // 8, LEAST_FRAMES)
        if kept >= before:
            return None
        info = medium.probe()
        return replace(films.plan(info.height, info.width, frames=kept), kept=kept)

    def image_units(
        self, image: Image, plan: Plan, transform: MediaTransform | None, index: int, at: Outline
    ) -> np.ndarray:
        """Decode a picture into float32 (U, ...)."""
        pixels = image.load()
        if transform:
            pixels = transform(Modality.IMAGE, pixels, index=index, limit=None)
        return _checked(self._need_images(at.source).units(pixels[None], plan), plan, at, image)

    def video_units(
        self, video: Video, plan: Plan, transform: MediaTransform | None, index: int, at: Outline
    ) -> tuple[np.ndarray, np.ndarray]:
        """Decode a video into float32 (U, ...) and float32 (U,) seconds."""
        films, sampler = self._need_films(at.source)
        frames, seconds = video.load(Fewer(sampler, plan.kept) if plan.kept else sampler)
        if transform:
            frames = transform(Modality.VIDEO, frames, index=index, limit=None)
        units = _checked(films.units(frames, plan), plan, at, video)
        frame_of_unit = np.arange(len(units)) * len(frames) // len(units)
        return units, np.asarray(seconds)[frame_of_unit].astype(np.float32)

    def sound_units(
        self, sound: Audio, plan: Plan, transform: MediaTransform | None, index: int, at: Outline
    ) -> np.ndarray:
        """Decode a sound into float32 (U, ...)."""
        layout = self._need_sounds(at.source)
        wave = sound.load(layout.rate, resampler=layout.resampler, mix=self.mix)[: plan.kept]
        if transform:
            limit = layout.capacity(plan)
            wave = transform(Modality.AUDIO, wave, index=index, limit=limit)
            if len(wave) > limit:
                raise AlignmentError(
                    f"{at.source}: an augmentation made {len(wave)} samples of {sound.where.name}, "
                    f"but its rows hold {limit}. Make the augmentation respect `limit`."
                )
        return _checked(layout.units(wave, plan), plan, at, sound)

    def _need_images(self, source: str) -> ImageLayout:
        if self.images is None:
            raise ConfigError(f"{source}: has a picture, but the model has no vision tower.")
        return self.images

    def _need_films(self, source: str) -> tuple[ImageLayout, FrameSampler]:
        if self.films is None or self.sampler is None:
            raise ConfigError(f"{source}: has a video, but the model takes none. Set model.video.")
        return self.films, self.sampler

    def _need_sounds(self, source: str) -> AudioLayout:
        if self.sounds is None:
            raise ConfigError(f"{source}: has a sound, but the model has no audio tower.")
        return self.sounds


def _checked(units: np.ndarray, plan: Plan, at: Outline, medium: Medium) -> np.ndarray:
    if len(units) != plan.units:
        raise AlignmentError(
            f"{at.source}: {medium.where.name} was planned as {plan.units} units and decoded to "
            f"{len(units)}. Its header does not match its content: re-encode the file."
        )
    return units
