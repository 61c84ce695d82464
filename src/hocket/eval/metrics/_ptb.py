"""Words of captions as the Penn Treebank splits them, lower-case and without punctuation.

pycocoevalcap runs Stanford's PTBTokenizer 3.4.1 (Java) and then drops punctuation; this gives the
same words for English captions, the slips included: brackets stay, as ``-lrb-``, because their
names are lower-case when they should be dropped. Knows letters; must not know metrics.
"""

from __future__ import annotations

import re

# What pycocoevalcap drops, and the quotation mark, which Stanford writes as two of these. Its
# list has the brackets' names in capitals, so they stay.
_DROPPED = {'"', "''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"}
_BRACKETS = {
    "(": "-lrb-",
    ")": "-rrb-",
    "[": "-lsb-",
    "]": "-rsb-",
    "{": "-lcb-",
    "}": "-rcb-",
}
_BRACKET = re.compile(r"[()\[\]{}]")
_OTHER_FORMS = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2013": " -- ",
        "\u2014": " -- ",
        "\u2026": " ... ",
        "\u20ac": " $ ",
        "\u00a3": " # ",
    }
)
# Abbreviations that keep their full stop; those of the second kind stand at ends of sentences
# too, where the stop is written twice, and stops are dropped anyway.
_SHORT = (
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thurs fri mr mrs ms dr "
    "drs st sts ft mt prof rev sen rep reps gov lt col gen sgt capt cpl pvt maj adm hon pres supt "
    "mssrs messrs mlle mme inc co cos corp ltd bros pp vs etc al esq ave blvd rd assn dept dist "
    "div univ fig figs sec chap cf ed eds est ex jr sr phd ph.d m.d art bldg bancorp cie dak dev "
    "eng eq eqs exec ga ala ariz ark calif colo conn del fla id ill ind kan ky md minn miss mont "
    "nev okla ore penn tenn tex va vt wash wis wyo invt treas viz sq govt admin"
)
_ABBREVIATIONS = "|".join(map(re.escape, _SHORT.split()))

_PART = r"[^\W_]+(?:_[^\W_]+)*"
_TOKEN = re.compile(
    rf"""
    (?:https?://|www\.)[^\s<>"]+[^\s<>".,;:!?')] | [\w.+-]+@[\w-]+(?:\.[\w-]+)+
    | </?[a-z][a-z0-9]*\s*/?>
    | can(?=not\b) | gon(?=na\b) | got(?=ta\b) | wan(?=na\b) | lem(?=me\b) | gim(?=me\b)
    | '[0-9]0s\b
    | 'n' | \bc'mon\b | \bo'clock\b | \bol'(?!\w) | 'em\b
    | \b[dl]'[a-z]+\b | \bo'[a-z]{{2,}}
    | \by'(?=\w) | 't(?=is\b|was\b)
    | n't(?![a-z]) | '(?:s|m|d|ll|re|ve)(?![a-z])
    | (?:[a-z]\.){{2,}}
    | [a-z](?:\.[a-z])+\.?(?![a-z]) | (?<![\w'])[a-z]\.(?=\s|$|\.\.)
    | (?<![\w-])(?:{_ABBREVIATIONS})\.(?!\w)
    | \bno\.(?=\s*\d)
    | {_PART}(?:-{_PART})*\.(?=[,;:])
    | [a-z]+(?:&[a-z]+)+
    | [a-z0-9]+(?:-[a-z]+){{0,2}}(?:/[a-z0-9]+(?:-[a-z]+){{0,2}}){{1,2}}(?![\w/])
    | (?:(?<![\w.,])[-+])?(?:\d+(?:[.,:]\d+)*|(?<!\w)\.\d+)(?!\w|-\w)
    | [^\W_]+?(?=n't(?![a-z]))
    | {_PART}(?:-{_PART})*(?:[.!?][^\W\d_]+(?:-{_PART})*)*
    | [@\#][a-z]\w+ | [:;]-?[()]
    | \.\.\.+ | [!?]+ | --+ | \*+ | _+ | [^\w\s]
    """,
    re.VERBOSE,
)


def caption_words(text: str) -> list[str]:
    """Return the words of a caption as caption metrics count them."""
    return [word for word in all_words(text) if word not in _DROPPED and word.strip(".")]


def all_words(text: str) -> list[str]:
    """Return every word and mark of a text, lower-case."""
    lower = text.translate(_OTHER_FORMS).lower()
    return [_BRACKET.sub(_bracket_name, found[0]) for found in _TOKEN.finditer(lower)]


def _bracket_name(found: re.Match[str]) -> str:
    return _BRACKETS[found[0]]
