"""Word and character error rates of transcripts (WER, CER)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from hocket.eval.metrics import Metric, Record, Stat, metrics
from hocket.eval.metrics._edit import edits

_NO_LETTERS = re.compile(r"(?<!\w)'|'(?!\w)")


@metrics.register
@dataclass(frozen=True, slots=True, kw_only=True)
class WordErrorRate(Metric):
    """Edits over the length of the right transcripts, of all together; 0 is perfect.

    Values of ``characters`` are character error rates, for languages without spaces.

    Attributes:
        unit: what counts as one: ``words`` or ``characters``, where spaces do not count.
        profile: ``default`` ignores case and punctuation but for apostrophes inside words;
            ``verbatim`` compares as it stands.
    """

    unit: Literal["words", "characters"] = "words"
    profile: Literal["default", "verbatim"] = "default"
    best = 0.0
    worst = 1.0

    def stat(self, record: Record) -> Stat:
        """Measure one answer."""
        said, wanted = self._units(record.answer), self._units(record.target)
        wrong = edits(said, wanted)
        score = wrong / len(wanted) if wanted else float(bool(said))
        parts = {"edits": wrong, "length": len(wanted)}
        return Stat(score=score, parsed=self._plain(record.answer), parts=parts)

    def reduce(self, stats: Sequence[Stat]) -> dict[str, float]:
        """Return all edits over all units."""
        wrong = sum(cast(int, stat.parts["edits"]) for stat in stats)
        length = sum(cast(int, stat.parts["length"]) for stat in stats)
        return {self.name: wrong / length if length else float("nan")}

    def _units(self, text: str) -> list[str]:
        plain = self._plain(text)
        return plain.split() if self.unit == "words" else list("".join(plain.split()))

    def _plain(self, text: str) -> str:
        if self.profile == "verbatim":
            return text
        folded = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
        letters = "".join(one if _in_word(one) else " " for one in folded)
        return " ".join(_NO_LETTERS.sub(" ", letters).split())


def _in_word(letter: str) -> bool:
    """Return whether it is part of a word; vowel signs of Hindi and others are marks (M)."""
    return letter.isalnum() or letter == "'" or unicodedata.category(letter).startswith("M")
