"""Multiple choice: which option an answer means, by MMMU's rules."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from hocket.data.seed import generator
from hocket.eval.metrics import Metric, Record, Stat, mean, metrics

_FRAMES = ",.!?;:'"
_FEWEST_WORDS = 6


@metrics.register
@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Metric):
    """Share of questions whose option is the right one; the key or target is its letter.

    The options stand in the record's meta. An answer that names none counts as wrong and is
    reported as invalid; MMMU's own evaluation draws an option instead.

    Attributes:
        profile: ``default`` is MMMU's rule without the draw, for which line breaks are spaces,
            stars are nothing and full-width marks are plain ones; it also takes ``A.``, ``A)``,
            ``A:``, the text of an option, however short, and at last a letter that no other
            letter or number touches; ``mmmu`` is MMMU's rule to the letter; ``lmms`` takes any
            word that ends in the letter, as lmms-eval does. The last two draw by the question's id.
        all_of_cluster: a question counts only if all of its cluster are right, as MMBench counts
            the rotations of its options; the share of single ones is then ``single``.
    """

    profile: Literal["default", "mmmu", "lmms"] = "default"
    all_of_cluster: bool = False
    scored_with = "cluster"

    def stat(self, record: Record) -> Stat:
        """Measure one answer."""
        found = record.meta.get("options")
        options = [str(option) for option in found] if isinstance(found, list) else []
        letter = read_choice(record.answer, options, profile=self.profile)
        valid = letter is not None
        if letter is None and self.profile != "default" and options:
            drawn = generator(0, 0, record.id, "choice").integers(len(options))
            letter = string.ascii_uppercase[int(drawn)]
        return Stat(
            score=float(letter == record.target.strip().upper()),
            parsed=letter or "",
            valid=valid,
            parts={"cluster": record.cluster},
        )

    def reduce(self, stats: Sequence[Stat]) -> dict[str, float]:
        """Return the share of right answers, and of answers that named no option."""
        invalid = mean([float(not stat.valid) for stat in stats])
        single = mean([stat.score or 0.0 for stat in stats])
        if not self.all_of_cluster:
            return {self.name: single, "invalid": invalid}
        clusters: dict[str, bool] = {}
        for stat in stats:
            name = str(stat.parts["cluster"])
            clusters[name] = clusters.get(name, True) and stat.score == 1
        whole = mean([float(right) for right in clusters.values()])
        return {self.name: whole, "single": single, "invalid": invalid}


def read_choice(
    answer: str,
    options: Sequence[str],
    *,
    profile: Literal["default", "mmmu", "lmms"] = "default",
) -> str | None:
    """Return the letter of the option that an answer means, or None.

    In order: a letter in brackets, a letter between spaces, in an answer of more than five words
    the text of an option. Of several the last in the answer counts.
    """
    text = _plain(answer) if profile == "default" else answer
    for mark in _FRAMES:
        text = text.strip(mark)
    text = f" {text} "
    letters = string.ascii_uppercase[: len(options)]
    texts = dict(zip(letters, options, strict=True))
    rules: list[tuple[Callable[[str], str], Callable[[str], str]]] = [
        (lambda letter: f"({letter})", str),
        (lambda letter: f" {letter} ", str),
    ]
    if profile == "lmms":
        return _read_lmms(text, letters, texts)
    if len(text.split()) >= _FEWEST_WORDS:
        rules.append((lambda letter: texts[letter].lower(), str.lower))
    if profile == "default":
        rules += [
            (lambda letter: f" {letter}.", str),
            (lambda letter: f" {letter})", str),
            (lambda letter: f" {letter}:", str),
            (lambda letter: texts[letter].lower(), str.lower),
        ]
    for form, view in rules:
        seen = view(text)
        found = {letter: seen.rfind(form(letter)) for letter in letters if form(letter) in seen}
        if profile == "default":
            # An option without text is in every answer, and "red" is in "red apple".
            found = {one: at for one, at in found.items() if form(one).strip()}
            found = dict(sorted(found.items(), key=lambda pair: -len(form(pair[0]))))
        if found:
            return max(found, key=lambda letter: found[letter])
    return _alone(text, letters) if profile == "default" else None


def _plain(answer: str) -> str:
    """Return an answer in one line of plain marks, without the stars of Markdown."""
    folded = unicodedata.normalize("NFKC", answer).replace("\u3002", ".").replace("*", "")
    return " ".join(folded.split())


def _alone(text: str, letters: str) -> str | None:
    """Return the answer if it is a letter of either case, or the last letter that stands alone."""
    letter = text.strip(string.punctuation + string.whitespace).upper()
    if len(letter) == 1 and letter in letters:
        return letter
    found = re.findall(rf"(?<![A-Za-z0-9'])[{letters}](?![A-Za-z0-9'])", text) if letters else []
    return str(found[-1]) if found else None


def _read_lmms(text: str, letters: str, texts: dict[str, str]) -> str | None:
    """Return what lmms-eval reads: it tests ``A ``, then places ``" A "``."""
    found: Sequence[str] = ()
    for forms in ("({})", "{} ", "{}."):
        found = [letter for letter in letters if forms.format(letter) in text]
        if found:
            mark = "({})" if forms == "({})" else " {} "
            return max(found, key=lambda letter: text.rfind(mark.format(letter)))
    if len(text.split()) < _FEWEST_WORDS:
        return None
    lower = text.lower()
    found = [letter for letter in letters if texts[letter].lower() in lower]
    return max(found, key=lambda letter: lower.rfind(texts[letter].lower()), default=None)
