"""MathVista: the answer is extracted, brought to the wanted type and compared."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass, field

from hocket.eval.judge import Chat, Judge, Unasked
from hocket.eval.metrics import Metric, Record, Stat, metrics
from hocket.eval.metrics._edit import edits
from hocket.eval.metrics.choice import read_choice

_QUOTED = re.compile(r'The answer is "(.*)"\.')
_ANSWER = re.compile(r"answer(?: is|:)[\s*:]*", re.IGNORECASE)
_RESULT = re.compile(rf"{_ANSWER.pattern}|=\s*", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?(?:[eE][+-]?\d+)?")
_LIST = re.compile(r"\[[^\[\]]*\]")
_EXTRACT = (
    "Below are a hint, a question and a model's response. Write only the final answer that the "
    "response gives, in the form that the hint asks for, and nothing else.\n\n"
    "Hint: Please answer the question requiring an integer answer.\nQuestion: Which number is "
    "missing?\nResponse: The missing number of the row must be 14.\nExtracted answer: 14\n\n"
    "Hint: Please provide the correct option letter.\nQuestion: What part is blue? Choices: "
    "(A) 3/11 (B) 8/11\nResponse: It is (B) 8/11.\nExtracted answer: B\n\n"
    "{query}\nResponse: {response}\nExtracted answer: "
)


@metrics.register
@dataclass(frozen=True, slots=True, kw_only=True)
class MathVista(Metric):
    """Accuracy on MathVista (Lu et al. 2023); the rules extract where no judge does.

    Meta: ``question_type`` (``multi_choice`` or ``free_form``), ``answer_type``, ``precision``,
    ``options`` and ``query``.

    Attributes:
        judge: a language model that extracts answers that the quick rules cannot; without one
            the last conclusion or number of the answer counts, and the value
            ``extracted_by_rule`` says how often.
    """

    judge: Judge = field(default_factory=Unasked)

    def measure(self, records: Sequence[Record]) -> list[Stat]:
        """Measure every answer; a judge is asked once, about all that need it."""
        quick = [quick_extract(record) for record in records]
        open_ = [at for at, found in enumerate(quick) if found is None]
        chats = [_chat(records[at]) for at in open_]
        judged = dict(zip(open_, self.judge.ask(chats), strict=True))
        stats = []
        for at, record in enumerate(records):
            extracted, by_rule = quick[at], False
            if extracted is None:
                extracted = judged[at]
            if extracted is None:
                extracted, by_rule = rule_extract(record), True
            stats.append(_stat(record, extracted, by_rule=by_rule))
        return stats

    def reduce(self, stats: Sequence[Stat]) -> dict[str, float]:
        """Return the accuracy and the share of answers that rules extracted."""
        by_rule = sum(bool(stat.parts["by_rule"]) for stat in stats) / max(1, len(stats))
        return {**super(MathVista, self).reduce(stats), "extracted_by_rule": by_rule}


def quick_extract(record: Record) -> str | None:
    """Return the answer where the response is nothing else, or quotes it; else None."""
    said = record.answer
    kind = record.meta.get("answer_type")
    if not said or (
        record.meta.get("question_type") == "multi_choice" and said in _options(record)
    ):
        return said
    try:
        if kind == "integer":
            return str(int(said))
        if kind == "float":
            return str(float(said))
    except ValueError:
        pass
    quoted = _QUOTED.search(said)
    return quoted[1] if quoted else None


def rule_extract(record: Record) -> str:
    """Return what follows the last conclusion: an option's letter or a number where one is wanted.

    What stands behind an equals sign concludes only where a number or list is wanted.
    """
    said = _ANSWER.split(record.answer)[-1].strip(" *\n").rstrip(".")
    if record.meta.get("question_type") == "multi_choice":
        return read_choice(said, _options(record)) or said
    if record.meta.get("answer_type") == "text":
        return said
    tail = _RESULT.split(record.answer)[-1]
    pattern = _LIST if record.meta.get("answer_type") == "list" else _NUMBER
    found = pattern.findall(tail) or pattern.findall(record.answer)
    return found[-1].replace(",", "") if found and pattern is _NUMBER else "".join(found[-1:])


def normalise(
    extracted: object,
    options: Sequence[str],
    *,
    question_type: str,
    answer_type: str,
    precision: int | None,
) -> object:
    """Return an extracted answer in the wanted type, as text; None where it cannot be.

    A letter becomes its option, any other text the option with the fewest edits.
    """
    if question_type == "multi_choice":
        text = str(extracted).strip()
        bracketed = re.findall(r"\(([a-zA-Z])\)", text)
        letter = bracketed[0].upper() if bracketed else text
        letters = string.ascii_uppercase[: len(options)]
        if len(letter) == 1 and letter in letters:
            return options[letters.index(letter)]
        return most_similar(letter, options)
    if answer_type == "list":
        return str(extracted)
    if answer_type not in ("integer", "float"):
        return extracted
    try:
        number = float(str(extracted))
        return str(int(number)) if answer_type == "integer" else str(round(number, precision))
    except (ValueError, OverflowError):
        return None


def most_similar(text: str, options: Sequence[str]) -> str:
    """Return the first option with the fewest edits from a text."""
    return min(options, key=lambda option: edits(text, option))


def _stat(record: Record, extracted: str, *, by_rule: bool) -> Stat:
    precision = record.meta.get("precision")
    found = normalise(
        extracted,
        _options(record),
        question_type=str(record.meta.get("question_type")),
        answer_type=str(record.meta.get("answer_type")),
        precision=int(precision) if isinstance(precision, int | float) else None,
    )
    # The reference takes the shortest option for an answer that says nothing.
    valid = found is not None and bool(str(extracted).strip())
    right = valid and str(found).strip() == record.target.strip()
    parsed = str(found) if valid else ""
    return Stat(score=float(right), parsed=parsed, valid=valid, parts={"by_rule": by_rule})


def _options(record: Record) -> list[str]:
    found = record.meta.get("options")
    return [str(option) for option in found] if isinstance(found, list) else []


def _chat(record: Record) -> Chat:
    query = str(record.meta.get("query") or record.meta.get("question") or "")
    return (("user", _EXTRACT.format(query=query, response=record.answer)),)
