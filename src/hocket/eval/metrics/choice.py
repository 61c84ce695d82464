"""Multiple choice: which option an answer means, by MMMU's rules."""

from __future__ import annotations

import string
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
        profile: ``default`` is MMMU's rule without the draw, and also takes ``A.``, ``A)``, ``A:``
            and the text of an option, however short, where nothing else is found; ``mmmu``
            is MMMU's rule to the letter; ``lmms`` takes any word that ends in the letter, as
            lmms-eval does. The last two draw by the question's id.
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
    text = answer
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
        found = {seen.rfind(form(letter)): letter for letter in letters if form(letter) in seen}
        if found:
            return found[max(found)]
    return _bare(answer, letters) if profile == "default" else None


def _bare(answer: str, letters: str) -> str | None:
    """Return a letter that stands alone, whatever its case and marks."""
    letter = answer.strip(string.punctuation + string.whitespace).upper()
    return letter if len(letter) == 1 and letter in letters else None


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
