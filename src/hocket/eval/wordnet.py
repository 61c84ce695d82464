"""How near words are in WordNet, read from its own data files (WNDB 3.0).

Knows the format of the files and Wu and Palmer's measure; must not know benchmarks.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hocket._errors import DataError

Sense = tuple[str, int]
"""Part of speech and the byte at which it stands in that part's file; the root is ``("", 0)``."""

DEBIAN = Path("/usr/share/wordnet")
_PARTS = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
_ROOT: Sense = ("", 0)
_UP = ("@", "@i")
# Endings that Morphy takes away, and what it puts there.
_ENDINGS: Mapping[str, Sequence[tuple[str, str]]] = {
    "n": (
        ("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z"), ("ches", "ch"),
        ("shes", "sh"), ("men", "man"), ("ies", "y"),
    ),
    "v": (
        ("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"),
        ("ing", ""),
    ),
    "a": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "r": (),
}  # fmt: skip


class Words(ABC):
    """Something that knows basic forms of words and how near two of them are."""

    @abstractmethod
    def base_form(self, word: str) -> str:
        """Return a noun or verb in its basic form, or the word itself."""

    @abstractmethod
    def similarity(self, one: str, other: str) -> float:
        """Return Wu and Palmer's similarity of the first senses, 0 where a word is not known."""


@dataclass(frozen=True, slots=True)
class FewWords(Words):
    """Words with the kinds of things they are, from the most general, for generated twins.

    Attributes:
        kinds: of each word, such as ``{"dog": ("thing", "animal", "dog")}``.
    """

    kinds: tuple[tuple[str, tuple[str, ...]], ...]

    def base_form(self, word: str) -> str:
        """Return the word."""
        return word

    def similarity(self, one: str, other: str) -> float:
        """Return twice the shared kinds over all kinds."""
        known = dict(self.kinds)
        if one not in known or other not in known:
            return 0.0
        pairs = zip(known[one], known[other], strict=False)
        shared = sum(first == second for first, second in pairs)
        return 2 * shared / (len(known[one]) + len(known[other]))


@dataclass(frozen=True, slots=True)
class WordNet(Words):
    """WordNet 3.0.

    Attributes:
        folder: of ``index.noun``, ``data.noun``, ``noun.exc`` and their like; the default is where
            Debian's package ``wordnet-base`` puts them.
    """

    folder: Path = DEBIAN

    def base_form(self, word: str) -> str:
        """Return the word's basic form as a noun, else as a verb, else the word itself."""
        files = _open(self.folder)
        for part in ("n", "v"):
            found = files.forms(word, part)
            if found:
                return found[0]
        return word

    def similarity(self, one: str, other: str) -> float:
        """Return Wu and Palmer's similarity, computed as NLTK does."""
        files = _open(self.folder)
        first, second = files.first_sense(one), files.first_sense(other)
        return files.near(first, second) if first and second else 0.0


@functools.cache
def _open(folder: Path) -> _Files:
    try:
        lines = {
            part: (folder / f"index.{name}").read_text("ascii").splitlines()
            for part, name in _PARTS.items()
        }
        data = {part: (folder / f"data.{name}").read_bytes() for part, name in _PARTS.items()}
        exceptions = {
            part: (folder / f"{name}.exc").read_text("ascii").splitlines()
            for part, name in _PARTS.items()
        }
    except OSError as error:
        raise DataError(
            f"no WordNet 3.0 in {folder} ({error.strerror}). Run: apt install wordnet-base, or "
            f"give the folder of its index.noun to the metric as wordnet=."
        ) from error
    return _Files(
        {part: _senses(rows) for part, rows in lines.items()},
        data,
        {part: _irregular(rows) for part, rows in exceptions.items()},
    )


def _senses(rows: Iterable[str]) -> dict[str, int]:
    """Return the place of the first sense of each lemma."""
    found = {}
    for row in rows:
        if row.startswith(" "):
            continue  # the licence
        cells = row.split()
        count = int(cells[2])
        found[cells[0]] = int(cells[len(cells) - count])
    return found


def _irregular(rows: Iterable[str]) -> dict[str, list[str]]:
    return {row.split()[0]: row.split()[1:] for row in rows if row.strip()}


@dataclass(frozen=True, slots=True, eq=False)
class _Files:
    """What was read: lemma -> first sense, the data, and irregular forms, per part of speech."""

    senses: dict[str, dict[str, int]]
    data: dict[str, bytes]
    irregular: dict[str, dict[str, list[str]]]

    def forms(self, word: str, part: str) -> list[str]:
        """Return the basic forms of a word that WordNet has, the likeliest first."""
        known = self.senses[part]
        if word in self.irregular[part]:
            return [one for one in (word, *self.irregular[part][word]) if one in known]
        found = [word, *self._shorter([word], part)]
        while not any(one in known for one in found[1:]) and len(found) > 1 and word not in known:
            deeper = self._shorter(found[1:], part)
            if not deeper:
                break
            found = [word, *deeper]
        return [one for one in dict.fromkeys(found) if one in known]

    def _shorter(self, words: Sequence[str], part: str) -> list[str]:
        return [
            one[: len(one) - len(old)] + new
            for one in words
            for old, new in _ENDINGS[part]
            if one.endswith(old)
        ]

    def first_sense(self, word: str) -> Sense | None:
        """Return the first sense of a word: as a noun, else a verb, an adjective, an adverb."""
        word = word.lower().replace(" ", "_")
        for part in _PARTS:
            found = self.forms(word, part)
            if found:
                return part, self.senses[part][found[0]]
        return None

    def near(self, one: Sense, other: Sense) -> float:
        """Return Wu and Palmer's similarity of two senses, 0 where nothing is above both."""
        rooted = (one[0], other[0]) != ("n", "n")
        up, over = self._above(one, rooted=rooted), self._above(other, rooted=rooted)
        shared = up.keys() & over.keys()
        if not shared:
            return 0.0
        deepest = max(self._depth(sense, shallow=True) for sense in shared)
        low = [sense for sense in shared if self._depth(sense, shallow=True) == deepest]
        meeting = one if one in low else min(low, key=self._name)
        depth = self._depth(meeting, shallow=False) + 1
        # The way to where they meet may go over a sense above it.
        top = self._above(meeting, rooted=rooted)
        ways = [min(way[sense] + top[sense] for sense in top if sense in way) for way in (up, over)]
        return 2 * depth / (sum(ways) + 2 * depth)

    def _above(self, sense: Sense, *, rooted: bool) -> dict[Sense, int]:
        """Return every sense above one, itself included, and the least number of steps to it."""
        steps, edge = {sense: 0}, [sense]
        while edge:
            upper = {top for one in edge for top in self._tops(one)}
            far = steps[edge[0]] + 1
            edge = [top for top in upper if top not in steps]
            steps |= dict.fromkeys(edge, far)
        if rooted:
            steps.setdefault(_ROOT, max(steps.values()) + 1)
        return steps

    def _depth(self, sense: Sense, *, shallow: bool) -> int:
        tops = self._tops(sense)
        if not tops:
            return 0
        depths = [self._depth(top, shallow=shallow) for top in tops]
        return 1 + (min(depths) if shallow else max(depths))

    def _tops(self, sense: Sense) -> list[Sense]:
        if sense == _ROOT:
            return []
        cells = self._cells(sense)
        words = int(cells[3], 16)
        at = 4 + 2 * words
        pointers = cells[at + 1 : at + 1 + 4 * int(cells[at])]
        return [
            (part, int(place))
            for sign, place, part in zip(pointers[::4], pointers[1::4], pointers[2::4], strict=True)
            if sign in _UP
        ]

    def _name(self, sense: Sense) -> str:
        return "" if sense == _ROOT else self._cells(sense)[4].lower()

    def _cells(self, sense: Sense) -> list[str]:
        part, place = sense
        data = self.data[part]
        return data[place : data.index(b"\n", place)].decode("ascii").split(" | ")[0].split()
