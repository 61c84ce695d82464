"""Questions about pictures, sounds and videos, in many phrasings, as rows of a LLaVA-style file.

Knows which medium shows what, and how people ask; must not know how media are made or written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple

import numpy as np

from hocket._errors import ConfigError, UnknownNameError
from hocket.chat.conversation import Json
from hocket.data.seed import generator
from hocket.quickstart.speech import DIGIT_WORDS

Row = dict[str, Json]
Kind = Literal["image", "audio", "video"]

PHRASINGS: Mapping[str, tuple[str, ...]] = {
    "digit": (
        "Which digit is this?",
        "What digit is shown here?",
        "Read the digit.",
        "Which number do you see?",
        "Name the digit in the picture.",
    ),
    "word": (
        "Which word do you hear?",
        "What is said?",
        "Write down the spoken word.",
        "What word is spoken here?",
        "Name the word in the sound.",
    ),
    "order": (
        "Which digits are shown, in order?",
        "List the digits in the order in which they appear.",
        "What digits does the video show, from first to last?",
        "Read the digits one after another.",
    ),
    "motion": (
        "Which way does the digit move?",
        "In what direction does it move?",
        "Where is the digit going?",
        "Name the direction of the motion.",
    ),
    "match": (
        "Does the sound name the digit in the picture?",
        "Is the spoken digit the one that is shown?",
        "Do the picture and the sound agree?",
        "Is this the digit that you hear?",
    ),
    "sum": (
        "What is the sum of the shown and the spoken digit?",
        "Add the digit in the picture and the one that you hear.",
        "What is the picture plus the sound?",
        "How much are the shown and the spoken digit together?",
    ),
    "plus": ("What is {a} plus {b}?", "{a} + {b} =", "Add {a} and {b}.", "How much is {a} + {b}?"),
    "minus": (
        "What is {a} minus {b}?",
        "{a} - {b} =",
        "Take {b} from {a}.",
        "How much is {a} - {b}?",
    ),
    "string": (
        "Reverse: {s}",
        "Write {s} backwards.",
        "Say these letters from last to first: {s}",
        "What is {s} in reverse order?",
    ),
    "total": (
        "What is their sum?",
        "Add the two digits.",
        "How much are they together?",
        "What is the total of both?",
    ),
    "agree": (
        "Are they the same digit?",
        "Do the two agree?",
        "Is it the same digit both times?",
        "Did picture and sound show the same digit?",
    ),
    "same": (
        "Is this the digit in the picture?",
        "Does it name the digit that you saw?",
        "Do you hear the digit that was shown?",
        "Is it the same digit again?",
    ),
    "recall digit": (
        "Which digit was in the picture?",
        "What did the picture show?",
        "Which digit did you see before?",
        "Name the digit that you saw.",
    ),
    "recall word": (
        "Which word did you hear before?",
        "What did the sound say?",
        "Which word was spoken?",
        "Name the word that you heard.",
    ),
}

TASKS = (
    "digit", "word", "order", "motion", "match", "sum", "arithmetic", "string", "dialogue",
)  # fmt: skip

_LETTERS = "abcdefgh"
_HELDOUT_STRINGS_SHARE = 0.2
_DIALOGUE_FORMS = 5


@dataclass(frozen=True, slots=True)
class Medium:
    """One file of the data set and what it shows.

    Attributes:
        kind: the key of a row that holds its path, and the name of its placeholder.
        path: where it is, relative to the folder of the data set.
        shows: the digit, word, order or direction.
    """

    kind: Kind
    path: str
    shows: str


class _Turn(NamedTuple):
    question: str
    answer: str
    media: tuple[Medium, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The media of one split.

    Attributes:
        pictures: digits, such as ``7``.
        sounds: words, such as ``seven`` or ``left``.
        orders: videos of three digits, such as ``3 1 4``.
        motions: videos of one moving digit, such as ``left``.
    """

    pictures: Sequence[Medium]
    sounds: Sequence[Medium]
    orders: Sequence[Medium]
    motions: Sequence[Medium]


class Composer:
    """Makes rows from the media of one split; every row has its own id.

    Args:
        pool: the media.
        split: ``train`` or ``heldout``; the two share no string to reverse, but do share sums.
        seed: seed of pairs, phrasings and places of the placeholders.

    Raises:
        ConfigError: no pictures, or no sound of some digit.
    """

    def __init__(self, pool: Pool, *, split: Literal["train", "heldout"], seed: int) -> None:
        self._pool = pool
        self._split = split
        self._seed = seed
        self._made = dict.fromkeys(TASKS, 0)
        self._spoken = [
            [sound for sound in pool.sounds if sound.shows == word] for word in DIGIT_WORDS
        ]
        if not pool.pictures or not all(self._spoken):
            raise ConfigError(f"the {split} split needs a picture and a sound of each digit.")
        self._strings = _strings(split, seed)
        self._tasks: dict[str, Callable[[np.random.Generator, int], list[_Turn]]] = {
            "digit": lambda rng, at: self._about(rng, at, "digit", pool.pictures),
            "word": lambda rng, at: self._about(rng, at, "word", pool.sounds),
            "order": lambda rng, at: self._about(rng, at, "order", pool.orders),
            "motion": lambda rng, at: self._about(rng, at, "motion", pool.motions),
            "match": self._match,
            "sum": self._sum,
            "arithmetic": self._arithmetic,
            "string": self._string,
            "dialogue": self._dialogue,
        }

    def rows(self, task: str, count: int) -> list[Row]:
        """Return the next `count` rows of a task.

        Tasks about one medium go through all media before any is seen twice, and then ask in
        another phrasing.

        Raises:
            UnknownNameError: no such task.
        """
        if task not in self._tasks:
            raise UnknownNameError("task", task, TASKS)
        rows = []
        for at in range(self._made[task], self._made[task] + count):
            rng = generator(self._seed, self._split, task, at)
            rows.append(_row(f"{self._split}-{task}-{at:05d}", task, self._tasks[task](rng, at)))
        self._made[task] += count
        return rows

    def _about(
        self, rng: np.random.Generator, at: int, task: str, media: Sequence[Medium]
    ) -> list[_Turn]:
        if not media:
            raise ConfigError(f"the {self._split} split has no media for the task {task}.")
        seen, which = divmod(at, len(media))
        medium = media[which]
        phrasings = PHRASINGS[task]
        first = int(generator(self._seed, medium.path).integers(len(phrasings)))
        question = phrasings[(first + seen) % len(phrasings)]
        return [_ask(rng, question, medium.shows, medium)]

    def _picture(self, rng: np.random.Generator) -> Medium:
        return self._pool.pictures[int(rng.integers(len(self._pool.pictures)))]

    def _speech(self, rng: np.random.Generator, digit: int) -> Medium:
        sounds = self._spoken[digit]
        return sounds[int(rng.integers(len(sounds)))]

    def _pair(self, rng: np.random.Generator) -> tuple[Medium, Medium]:
        return self._picture(rng), self._speech(rng, int(rng.integers(10)))

    def _alike(self, rng: np.random.Generator, at: int) -> tuple[Medium, Medium, str]:
        """Return a picture, a sound and whether they agree: yes for even `at`, no for odd."""
        picture = self._picture(rng)
        digit = int(picture.shows)
        if at % 2 == 0:
            return picture, self._speech(rng, digit), "yes"
        return picture, self._speech(rng, (digit + int(rng.integers(1, 10))) % 10), "no"

    def _match(self, rng: np.random.Generator, at: int) -> list[_Turn]:
        picture, sound, answer = self._alike(rng, at)
        return [_ask(rng, _phrase(rng, "match"), answer, picture, sound)]

    def _sum(self, rng: np.random.Generator, at: int) -> list[_Turn]:
        picture, sound = self._pair(rng)
        return [_ask(rng, _phrase(rng, "sum"), _total(picture, sound), picture, sound)]

    def _arithmetic(self, rng: np.random.Generator, at: int) -> list[_Turn]:
        a, b = (int(number) for number in rng.integers(0, 10, size=2))
        if at % 2 == 0:
            return [_Turn(_phrase(rng, "plus").format(a=a, b=b), str(a + b))]
        a, b = max(a, b), min(a, b)
        return [_Turn(_phrase(rng, "minus").format(a=a, b=b), str(a - b))]

    def _string(self, rng: np.random.Generator, at: int) -> list[_Turn]:
        letters = self._strings[at % len(self._strings)]
        return [_Turn(_phrase(rng, "string").format(s=letters), letters[::-1])]

    def _dialogue(self, rng: np.random.Generator, at: int) -> list[_Turn]:
        form, number = at % _DIALOGUE_FORMS, at // _DIALOGUE_FORMS
        picture, sound = self._pair(rng)
        if form in (1, 2):
            picture, sound, answer = self._alike(rng, number)
        see = _ask(rng, _phrase(rng, "digit"), picture.shows, picture)
        if form == 2:
            return [see, _ask(rng, _phrase(rng, "same"), answer, sound)]
        hear = _ask(rng, _phrase(rng, "word"), sound.shows, sound)
        if form == 0:
            return [see, hear, _Turn(_phrase(rng, "total"), _total(picture, sound))]
        if form == 1:
            return [hear, see, _Turn(_phrase(rng, "agree"), answer)]
        total = _Turn(_phrase(rng, "total"), _total(picture, sound))
        recall_digit = _Turn(_phrase(rng, "recall digit"), picture.shows)
        if form == 3:
            return [see, hear, recall_digit]
        return [hear, see, total, _Turn(_phrase(rng, "recall word"), sound.shows)]


def _strings(split: str, seed: int) -> list[str]:
    every = [" ".join(letters) for letters in product(_LETTERS, repeat=3)]
    order = generator(seed, "strings").permutation(len(every))
    heldout = round(len(every) * _HELDOUT_STRINGS_SHARE)
    chosen = order[:heldout] if split == "heldout" else order[heldout:]
    return [every[at] for at in chosen]


def _phrase(rng: np.random.Generator, name: str) -> str:
    phrasings = PHRASINGS[name]
    return phrasings[int(rng.integers(len(phrasings)))]


def _total(picture: Medium, sound: Medium) -> str:
    return str(int(picture.shows) + DIGIT_WORDS.index(sound.shows))


def _ask(rng: np.random.Generator, question: str, answer: str, *media: Medium) -> _Turn:
    """Put the placeholders before or after the question, in either order."""
    shuffled = tuple(media[int(at)] for at in rng.permutation(len(media)))
    lines = [f"<{medium.kind}>" for medium in shuffled]
    at = len(lines) if rng.integers(2) else 0
    lines.insert(at, question)
    return _Turn("\n".join(lines), answer, shuffled)


def _row(name: str, task: str, turns: Sequence[_Turn]) -> Row:
    row: Row = {"id": name}
    kinds = []
    for kind in ("image", "audio", "video"):
        paths: list[Json] = [
            medium.path for turn in turns for medium in turn.media if medium.kind == kind
        ]
        if paths:
            row[kind] = paths[0] if len(paths) == 1 else paths
            kinds.append(kind)
    row["task"] = task
    row["modality"] = "+".join(kinds) or "text"
    row["conversations"] = [
        {"from": speaker, "value": value}
        for turn in turns
        for speaker, value in (("human", turn.question), ("gpt", turn.answer))
    ]
    return row
