"""Mirror a picture, or all frames of a video, unless the sample speaks of left and right.

A mirrored picture makes "turn left" wrong, so a sample is left alone when its questions or
answers hold a word of ``left_right.yaml`` in one of the chosen languages, a word of the user's
own, or coordinates. Writing inside a picture is not seen: give data sets of documents
``no_augment: [flip]`` in their rows, or choose `words` that their questions use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hocket._errors import ConfigError
from hocket.chat.conversation import Conversation
from hocket.data.augment import PixelAugmentation, augmentations
from hocket.data.augment._numbers import Share
from hocket.data.augment._sides import LANGUAGES, gives_coordinates, speaks_of_sides, words_of


@augmentations.register
@dataclass(frozen=True, kw_only=True)
class Flip(PixelAugmentation):
    """Mirror from left to right.

    Attributes:
        chance: share of the media that are mirrored.
        languages: whose words for left, right and turning keep a sample as it is.
        words: more such words, in any case; ``*`` stands for any letters.
    """

    off: ClassVar[Mapping[str, Any]] = {"chance": 0.0}
    chance: Share = 0.5
    languages: tuple[str, ...] = LANGUAGES
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the languages are known.

        Raises:
            UnknownNameError: there is no list of words in a language.
        """
        words_of(self.languages)

    def accepts(self, conversation: Conversation | None) -> bool:
        """Return whether the sample stays true when it is mirrored.

        Raises:
            ConfigError: there is no sample to read.
        """
        if conversation is None:
            raise ConfigError(
                "data.augment.flip reads the sample's text to keep 'left' and 'right' true, but "
                "got none. Give Augmenter.bind the conversation."
            )
        if gives_coordinates(conversation):
            return False
        return not speaks_of_sides(conversation, (*words_of(self.languages), *self.words))

    def __call__(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change uint8 (..., H, W, 3)."""
        if rng.random() >= self.chance:
            return pixels
        return np.ascontiguousarray(pixels[..., ::-1, :])
