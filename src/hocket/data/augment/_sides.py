"""What a sample's text says that a change of its pictures would make wrong."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files

import yaml

from hocket._errors import UnknownNameError
from hocket.chat.conversation import Conversation, Role

_WORDS: dict[str, tuple[str, ...]] = {
    language: tuple(words)
    for language, words in yaml.safe_load(
        (files(__package__) / "left_right.yaml").read_text(encoding="utf-8")
    ).items()
}
LANGUAGES: tuple[str, ...] = tuple(_WORDS)
"""ISO 639 codes of the languages whose words for left and right are known."""

# [12, 0.5, 30, 40] in any brackets, and the tokens that models write boxes with.
_NUMBER = r"\s*-?\d+(?:\.\d+)?\s*"
_COORDINATES = re.compile(
    rf"[\[(<{{]{_NUMBER}(?:,{_NUMBER}){{3}}[\])>}}]|<\|?/?(?:box|quad|point|loc)[\w|]*>"
)


def words_of(languages: tuple[str, ...]) -> tuple[str, ...]:
    """Return every word for left, right and the like in some languages.

    Raises:
        UnknownNameError: there is no list of words in a language.
    """
    for language in languages:
        if language not in _WORDS:
            raise UnknownNameError("language of data.augment.flip.languages", language, LANGUAGES)
    return tuple(word for language in languages for word in _WORDS[language])


def speaks_of_sides(conversation: Conversation, words: tuple[str, ...]) -> bool:
    """Return whether a question or an answer holds one of the words, in any case.

    Args:
        conversation: the sample; its system text is not read.
        words: whole words; ``*`` stands for any letters.
    """
    pattern = _pattern(words)
    return pattern is not None and any(pattern.search(_plain(text)) for text in _said(conversation))


def gives_coordinates(conversation: Conversation) -> bool:
    """Return whether a question or an answer gives a box: four numbers in brackets, or a token."""
    return any(_COORDINATES.search(text) for text in _said(conversation))


def _said(conversation: Conversation) -> Iterator[str]:
    for message in conversation.messages:
        if message.role is not Role.SYSTEM:
            yield message.text


@lru_cache(maxsize=8)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str] | None:
    if not words:
        return None
    each = "|".join(re.escape(_plain(word)).replace(r"\*", r"\w*") for word in words)
    return re.compile(rf"(?<!\w)(?:{each})(?!\w)")


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
