"""Questions as cards of a page: media, prompt, what each model said, the truth and the scores.

A page has a limit of bytes for media; what is left out is counted. Knows exams and logs; must not
know templates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hocket._errors import HocketError
from hocket.eval.answers import Line
from hocket.eval.exam import Origin, open_exam
from hocket.eval.metrics import Stat
from hocket.eval.question import Question
from hocket.report.media import turn_view

MOST_BYTES = 16_000_000
"""Of media in a page, as base 64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a model answered, and what a metric made of it.

    Attributes:
        model: whose answer.
        line: of its log.
        stat: of the headline metric.
        best: score of a perfect answer.
    """

    model: str
    line: Line
    stat: Stat
    best: float

    @property
    def verdict(self) -> str:
        """One of ``right``, ``wrong``, ``partly``, ``invalid`` and ``unscored``."""
        if self.stat.score is None:
            return "unscored"
        if not self.stat.valid:
            return "invalid"
        if self.stat.score >= self.best if self.best > 0 else self.stat.score <= 0:
            return "right"
        return "partly" if self.best > 0 and self.stat.score > 0 else "wrong"


class Cards:
    """Makes cards as long as there is room for their media.

    Args:
        most_bytes: of media in all cards.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._room = most_bytes
        self.without_media = 0

    def of(self, origin: Origin, answers: Mapping[str, Sequence[Said]]) -> list[dict[str, Any]]:
        """Return a card for each question, in the order given.

        Args:
            origin: of the exam; where its files are gone, cards show prompts alone.
            answers: id of a question -> what each model said.
        """
        questions = _questions(origin, set(answers))
        return [
            self._card(name, said, questions.get(name)) for name, said in answers.items() if said
        ]

    def _card(self, name: str, said: Sequence[Said], question: Question | None) -> dict[str, Any]:
        line = said[0].line
        return {
            "id": name,
            "group": line.group,
            "turns": self._turns(question, line),
            "truth": _truth(line),
            "said": [
                {
                    "model": one.model,
                    "answer": one.line.reply.text,
                    "parsed": one.stat.parsed,
                    "score": one.stat.score,
                    "verdict": one.verdict,
                    "cut": not one.line.reply.finished,
                }
                for one in said
            ],
            "verdicts": sorted({one.verdict for one in said}),
        }

    def _turns(self, question: Question | None, line: Line) -> list[dict[str, Any]]:
        text = [{"role": "user", "parts": [{"text": line.prompt.removeprefix("user: ")}]}]
        if question is None:
            self.without_media += line.modality != "text"
            return text
        try:
            turns = [turn_view(message) for message in question.conversation.messages]
        except HocketError:
            self.without_media += 1
            return text
        size = sum(
            len(value)
            for turn in turns
            for part in turn["parts"]
            for value in part.values()
            if value.startswith("data:")
        )
        if size > self._room:
            self.without_media += 1
            return text
        self._room -= size
        return turns


def pick(said: Mapping[str, Sequence[Said]], count: int) -> dict[str, Sequence[Said]]:
    """Choose questions to show: verdicts and groups in turn, so that every kind is seen.

    Args:
        said: id of a question -> what each model said, in the order of the exam.
        count: how many.

    Returns:
        The chosen ones, in the order of the exam.
    """
    piles: dict[tuple[str, ...], list[str]] = {}
    for name, answers in said.items():
        kind = (answers[0].line.group, *(one.verdict for one in answers))
        piles.setdefault(kind, []).append(name)
    turns = range(max(map(len, piles.values()), default=0))
    dealt = [pile[turn] for turn in turns for pile in piles.values() if turn < len(pile)]
    chosen = set(dealt[:count])
    return {name: answers for name, answers in said.items() if name in chosen}


def _questions(origin: Origin, wanted: set[str]) -> dict[str, Question]:
    found: dict[str, Question] = {}
    try:
        for question in open_exam(origin).questions():
            if question.id in wanted:
                found[question.id] = question
            if len(found) == len(wanted):
                break
    except HocketError:
        # The benchmark has moved: what is known of the questions stands in the log.
        return found
    return found


def _truth(line: Line) -> str:
    if isinstance(line.truth, list) and line.truth and all(map(_is_plain, line.truth)):
        return ", ".join(dict.fromkeys(str(one) for one in line.truth))
    return line.target


def _is_plain(value: object) -> bool:
    return isinstance(value, str)
