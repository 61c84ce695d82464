"""What a walk is asked for in words, in four languages.

Level 0 names a landmark in the room, 1 one behind a door, 2 two in order, 3 a way: which room to
leave and what to pass on which side. Knows words only; the words are in ``words.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

LEVELS = (0, 1, 2, 3)


def languages() -> tuple[str, ...]:
    """Return the languages that instructions come in, as ISO 639-1."""
    return tuple(_words())


def name(pair: tuple[str, str], language: str = "en") -> str:
    """Return what a language calls a thing of a colour and a shape."""
    words = _words()[language]
    return str(
        words["thing"].format(colour=words["colours"][pair[0]], shape=words["shapes"][pair[1]])
    )


def instruct(
    level: int,
    pairs: Sequence[tuple[str, str]],
    *,
    wall: str,
    side: str,
    paraphrase: int,
    language: str = "en",
) -> str:
    """Return an instruction.

    Args:
        level: 0 to 3.
        pairs: the landmarks on the way, the goal last.
        wall: colour of the walls: of the goal's room at level 1, of the first room at level 3.
        side: ``left`` or ``right``: where the first landmark is passed.
        paraphrase: any number; which wording.
        language: one of `languages`.
    """
    words = _words()[language]
    wordings: list[str] = words[f"level{level}"]
    return wordings[paraphrase % len(wordings)].format(
        thing=name(pairs[-1], language),
        first=name(pairs[0], language),
        wall=words["walls"][wall],
        side=words["sides"][side],
    )


@cache
def _words() -> Mapping[str, Any]:
    text = files(__package__).joinpath("words.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Any] = yaml.safe_load(text)
    return found
