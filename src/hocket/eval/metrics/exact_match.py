"""Exact match: the answer is one of the right ones, after a normalisation that has a name."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from typing import Literal

from hocket.eval.metrics import Metric, Record, Stat, metrics
from hocket.eval.metrics._vqa_words import evalai_words

# Full-width marks too: Chinese answers end with them.
_ENDS = " \t\n.,;:!?\"'\u3002\uff0c\u3001\uff1b\uff1a\uff01\uff1f"
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@metrics.register
@dataclass(frozen=True, slots=True, kw_only=True)
class ExactMatch(Metric):
    """Share of answers equal to the target, or to one of the list that is the key.

    Attributes:
        profile: ``default`` ignores case, spaces and punctuation at the ends; ``gqa`` only drops
            full stops at the end and case, as LLaVA does for GQA; ``lmms`` drops all
            punctuation and case but keeps spaces, as lmms-eval does; ``evalai`` is ST-VQA's;
            ``letters`` ignores case and spaces, as VILA's needle test does; ``verbatim`` compares
            as it stands.
    """

    profile: Literal["default", "gqa", "lmms", "evalai", "letters", "verbatim"] = "default"

    def stat(self, record: Record) -> Stat:
        """Measure one answer."""
        keys = record.key if isinstance(record.key, list) else [record.target]
        said = self._plain(record.answer)
        return Stat(score=float(said in {self._plain(str(one)) for one in keys}), parsed=said)

    def _plain(self, text: str) -> str:
        match self.profile:
            case "gqa":
                return text.rstrip(".").lower()
            case "lmms":
                return text.lower().translate(_NO_PUNCTUATION)
            case "evalai":
                return evalai_words(text)
            case "letters":
                return "".join(text.lower().split())
            case "verbatim":
                return text
            case _:
                return normalise(text)


def normalise(text: str) -> str:
    """Lower-case, without punctuation at the ends and with single spaces."""
    return re.sub(r"\s+", " ", text).strip(_ENDS).lower()
