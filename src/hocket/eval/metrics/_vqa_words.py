"""How VQA and TextVQA make answers comparable: punctuation, numbers, articles, contractions.

The rules are those of VQA's official evaluation, its slips included, because every published
number was made with them. Knows words; must not know annotators.
"""

from __future__ import annotations

import re

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_COUNTED = "zero one two three four five six seven eight nine ten"
_NUMBERS = {"none": "0"} | {word: str(number) for number, word in enumerate(_COUNTED.split())}
_ARTICLES = {"a", "an", "the"}
# VQA's evaluation ran under Python 2, where only these are digits, and takes one comma.
_OFFICIAL_COMMA = re.compile(r"[0-9],[0-9]")
_COMMAS = re.compile(r"\d,+\d")
# The original means "not between digits" but looks ahead twice, so only what follows counts.
_PERIOD = re.compile(r"\.(?!\d)")
# It passes a flag of value 32 where the number of replacements belongs.
_MOST_PERIODS = 32

# Words without their apostrophe, and the few that the table changes in another way. Where the
# rule below gives the right-hand side, the word alone stands here.
_IRREGULAR = {
    "Id've": "I'd've",
    "I'dve": "I'd've",
    "Im": "I'm",
    "Ive": "I've",
    "maam": "ma'am",
    "oclock": "o'clock",
    "ow's'at": "'ow's'at",
    "'ows'at": "'ow's'at",
    "'ow'sat": "'ow's'at",
    "somebody'd": "somebodyd",
    "twas": "'twas",
    "yall": "y'all",
    "yall'll": "y'all'll",
    "y'allll": "y'all'll",
    "yall'd've": "y'all'd've",
    "y'alld've": "y'all'd've",
    "y'all'dve": "y'all'd've",
}
_NOT = (
    "ai are ca could did does do had has have is might must need ought sha should was were wo would"
)
_NOT_HAVE = "could had might should would"
_HAVE = "could might must not should they we what where who would you"
_WOULD = "he how it someone something there they where who you"
_WOULD_HAVE = "he it she somebody someone something there they we who you"
_WILL = "how it somebody someone something they what who why you"
_IS = "he how somebody someone that there what when where who why"
_ARE = "there they what why you"


def _contractions() -> dict[str, str]:
    """Return VQA's table: what a word without apostrophe becomes."""
    table = dict(_IRREGULAR)
    for stem in _NOT.split():
        table[stem + "nt"] = stem + "n't"
    for stem in _NOT_HAVE.split():
        table[stem + "nt've"] = table[stem + "n'tve"] = stem + "n't've"
    for stem in _WOULD_HAVE.split():
        table[stem + "d've"] = table[stem + "'dve"] = stem + "'d've"
    for stems, ending in ((_HAVE, "ve"), (_WOULD, "d"), (_WILL, "ll"), (_IS, "s"), (_ARE, "re")):
        table |= {stem + ending: f"{stem}'{ending}" for stem in stems.split()}
    return table


_CONTRACTIONS = _contractions()


def plain_spaces(text: str) -> str:
    """Return the text with line breaks and tabs as spaces, and none at its ends."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def without_punctuation(text: str, *, official: bool = False) -> str:
    """Drop each mark that touches a space anywhere in the text; any other becomes a space.

    Args:
        text: of an answer.
        official: look for commas in numbers as VQA's evaluation does, else as EvalAI.
    """
    number = (_OFFICIAL_COMMA if official else _COMMAS).search(text) is not None
    found = text
    for mark in _PUNCTUATION:
        drop = number or f"{mark} " in text or f" {mark}" in text
        found = found.replace(mark, "" if drop else " ")
    return _PERIOD.sub("", found, count=_MOST_PERIODS)


def plain_words(text: str) -> str:
    """Lower-case; numbers up to ten as digits, no articles, contractions with their apostrophe."""
    words = [_NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def vqa_words(text: str, *, official: bool = False) -> str:
    """Return an answer as VQA's evaluation compares it; ``official`` as `without_punctuation`."""
    return plain_words(without_punctuation(plain_spaces(text), official=official))


def evalai_words(text: str) -> str:
    """Return an answer as EvalAI compares it for TextVQA and ST-VQA."""
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    return vqa_words(text)
