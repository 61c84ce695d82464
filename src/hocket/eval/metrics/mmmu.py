"""MMMU's accuracy: multiple choice, and open answers searched for the right number or words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hocket.eval.metrics import Metric, Record, Stat, mean, metrics
from hocket.eval.metrics.choice import Choice

_INDICATORS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_TRIVIAL = set(":,.!?;'")
DISCIPLINES = {
    "art_and_design": "Art Art_Theory Design Music",
    "business": "Accounting Economics Finance Manage Marketing",
    "science": "Biology Chemistry Geography Math Physics",
    "health_and_medicine": "Basic_Medical_Science Clinical_Medicine "
    "Diagnostics_and_Laboratory_Medicine Pharmacy Public_Health",
    "humanities_and_social_science": "History Literature Sociology Psychology",
    "tech_and_engineering": "Agriculture Architecture_and_Engineering Computer_Science "
    "Electronics Energy_and_Power Materials Mechanical_Engineering",
}
"""Subjects of each of MMMU's six disciplines, separated by spaces."""

_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),
)


@metrics.register
@dataclass(frozen=True, slots=True, kw_only=True)
class Mmmu(Metric):
    """Micro average over questions of both kinds (Yue et al. 2023), and of each discipline.

    A question with options is scored by `choice`; any other is right when a right number, rounded
    to two decimals, or a right text is among what the answer holds.

    Attributes:
        choice: how questions with options are scored.
    """

    choice: Choice = field(default_factory=Choice)

    def stat(self, record: Record) -> Stat:
        """Measure one answer."""
        parts = {"subject": record.group}
        if record.meta.get("options"):
            return replace(self.choice.stat(record), parts=parts)
        held = read_open(record.answer)
        keys = record.key if isinstance(record.key, list) else [record.key]
        right = open_right(held, [str(key) for key in keys])
        return Stat(score=float(right), parsed=" | ".join(map(str, held)), parts=parts)

    def reduce(self, stats: Sequence[Stat]) -> dict[str, float]:
        """Return the accuracy of all, of each discipline, and the share of invalid choices."""
        found = super(Mmmu, self).reduce(stats)
        for name, subjects in DISCIPLINES.items():
            known = subjects.split()
            scores = [stat.score or 0.0 for stat in stats if stat.parts["subject"] in known]
            if scores:
                found[name] = mean(scores)
        return {**found, "invalid": mean([float(not stat.valid) for stat in stats])}


def read_open(answer: str) -> list[str | float]:
    """Return the texts and numbers that an open answer may mean, in order, each once."""
    texts = _key_parts(answer)
    numbers = [number for text in texts for number in numbers_in(text)]
    return list(dict.fromkeys(one for text in [*texts, *numbers] for one in comparable(text)))


def open_right(held: Sequence[str | float], keys: Sequence[str]) -> bool:
    """Return whether what an answer holds includes a right number or contains a right text."""
    wanted = [one for key in keys for one in comparable(key)]
    texts = [one for one in wanted if isinstance(one, str)]
    return any(
        any(text in one for text in texts) if isinstance(one, str) else one in wanted
        for one in held
    )


def numbers_in(text: str) -> list[str]:
    """Return numbers with commas, then those with exponents, then plain ones."""
    return [number for pattern in _NUMBERS for number in pattern.findall(text)]


def comparable(text: str) -> list[str | float]:
    """Return a number rounded to two decimals, or lower-case text; a letter needs a space."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        lower = text.lower()
    return [f" {lower}", f"{lower} "] if len(lower) == 1 else [lower]


def _key_parts(answer: str) -> list[str]:
    """Return what follows the last sign of a conclusion in each line, or the whole answer."""
    text = answer.strip().strip(".").lower()
    lines = text.split("\n")
    found = []
    for line in lines:
        signs = (*_INDICATORS, "=") if line is lines[-1] else _INDICATORS
        tails = [line.split(sign)[-1].strip() for sign in signs if sign in line]
        shortest = _shortest(tails)
        if shortest and shortest not in _TRIVIAL:
            found.append(shortest)
    return found or [text]


def _shortest(tails: Sequence[str]) -> str:
    """Return the shortest, where an empty one gives way to whatever comes after it."""
    kept = ""
    for tail in tails:
        if not kept or len(tail) < len(kept):
            kept = tail
    return kept
