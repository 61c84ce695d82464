"""Answers about videos marked from 0 to 5 by a judge (Video-ChatGPT's benchmark)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hocket.eval.judge import Chat, Judge, Unasked
from hocket.eval.metrics import Metric, Record, Stat, mean, metrics
from hocket.eval.metrics.judged_answer import read_score, read_verdict

_CRITERIA = {
    "correctness": "whether the facts of the prediction agree with the video and mislead nobody",
    "detail": "whether the prediction covers all points of the video and is specific, not generic",
    "context": "whether the prediction agrees with the overall context and theme of the video",
    "temporal": "whether the prediction has the order of events right",
    "consistency": "whether both predictions, of the same question asked twice, say the same",
}
_TASK = (
    "You mark answers to questions about videos. Judge {}. Synonyms and paraphrases are fine. "
    "Reply only with a Python dictionary such as {{'score': 4}}, an integer from 0 to 5."
)


@metrics.register
@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedScore(Metric):
    """Mean of a judge's marks from 0 to 5; the mean per criterion too.

    A record's group names its criteria: ``generic`` stands for correctness, detail and context.
    ``consistency`` compares the two answers of a cluster; the mark stands at the first of them.
    A mark that cannot be read is no mark: it is counted as unscored and in no mean.

    Attributes:
        judge: who is asked.
    """

    judge: Judge = field(default_factory=Unasked)
    best = 5.0
    percent = False

    def measure(self, records: Sequence[Record]) -> list[Stat]:
        """Ask the judge about every answer and criterion."""
        asked = [(at, name) for at, one in enumerate(records) for name in _criteria(one)]
        pairs = _pairs(records)
        asked = [(at, name) for at, name in asked if name != "consistency" or at in pairs]
        chats = [_chat(name, records[at], _partner(records, pairs, at)) for at, name in asked]
        marks: dict[int, dict[str, float | None]] = {at: {} for at in range(len(records))}
        for (at, name), said in zip(asked, self.judge.ask(chats), strict=True):
            marks[at][name] = read_score(read_verdict(said or "").get("score"))
        return [_stat(marks[at]) for at in range(len(records))]

    def reduce(self, stats: Sequence[Stat]) -> dict[str, float]:
        """Return the mean over criteria, each of them, and how many marks are missing."""
        each: dict[str, list[float]] = {}
        missing = 0
        for stat in stats:
            for name, mark in stat.parts.items():
                if isinstance(mark, int | float):
                    each.setdefault(name, []).append(float(mark))
                else:
                    missing += 1
        means = {name: mean(marks) for name, marks in each.items()}
        return {self.name: mean(list(means.values())), **means, "unscored": float(missing)}


def _criteria(record: Record) -> tuple[str, ...]:
    if record.group in _CRITERIA:
        return (record.group,)
    return ("correctness", "detail", "context")


def _pairs(records: Sequence[Record]) -> dict[int, int]:
    """Return the first of each pair of a cluster and its second, of those about consistency."""
    first: dict[str, int] = {}
    pairs = {}
    for at, record in enumerate(records):
        if record.group != "consistency":
            continue
        if record.cluster in first:
            pairs[first.pop(record.cluster)] = at
        else:
            first[record.cluster] = at
    return pairs


def _partner(records: Sequence[Record], pairs: dict[int, int], at: int) -> Record | None:
    return records[pairs[at]] if at in pairs else None


def _chat(criterion: str, record: Record, partner: Record | None) -> Chat:
    lines = [
        f"Question: {record.meta.get('question', '')}",
        f"Correct answer: {record.target}",
        f"Predicted answer: {record.answer}",
    ]
    if criterion == "consistency" and partner:
        lines.insert(1, f"The same question again: {partner.meta.get('question', '')}")
        lines.append(f"Predicted answer to the second: {partner.answer}")
    return (("system", _TASK.format(_CRITERIA[criterion])), ("user", "\n".join(lines)))


def _stat(marks: dict[str, float | None]) -> Stat:
    given = [mark for mark in marks.values() if mark is not None]
    parsed = ", ".join(f"{name} {mark}" for name, mark in marks.items())
    return Stat(
        score=mean(given) if given else None,
        parsed=parsed,
        valid=bool(given) or not marks,
        parts={**marks},
    )
