"""Questions asked and scored in memory, for a model that is being trained or shown.

No log, no files: what `hocket eval` does for a checkpoint, without its folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hocket.eval.ask import ask
from hocket.eval.interval import Share, share
from hocket.eval.metrics import Metric, Stat
from hocket.eval.metrics.exact_match import ExactMatch
from hocket.eval.question import Question
from hocket.infer.engine import Engine
from hocket.infer.sampling import Sampling

_EXACT = ExactMatch()
_SHORT = Sampling(max_new_tokens=16)


@dataclass(frozen=True, slots=True)
class Scored:
    """A question with the model's answer.

    Attributes:
        question: what was asked.
        answer: what the model said; empty where it could not be asked.
        stat: what the metric measured.
        metric: whose measurement it is.
    """

    question: Question
    answer: str
    stat: Stat
    metric: Metric = field(default=_EXACT, repr=False)

    @property
    def right(self) -> bool:
        """Whether the answer is perfect."""
        return self.stat.score == self.metric.best_answer


def evaluate(
    engine: Engine,
    questions: Sequence[Question],
    *,
    metric: Metric = _EXACT,
    sampling: Sampling = _SHORT,
    clean: Callable[[str], str] = str,
    progress: Callable[[int, int], None] | None = None,
) -> list[Scored]:
    """Answer and score every question; one that cannot be asked counts as answered with nothing.

    Args:
        engine: the model.
        questions: what to ask.
        metric: scores the answers.
        sampling: how answers are drawn.
        clean: what is left of an answer before it is scored.
        progress: called with (done, all) after each answer.

    Returns:
        One result per question, in the order of the questions.
    """
    answers = []
    for _, reply in ask(engine, questions, sampling):
        answers.append(reply.text)
        if progress:
            progress(len(answers), len(questions))
    return score(questions, answers, metric=metric, clean=clean)


def score(
    questions: Sequence[Question],
    answers: Sequence[str],
    *,
    metric: Metric = _EXACT,
    clean: Callable[[str], str] = str,
) -> list[Scored]:
    """Score answers, one for each question; arguments and result are those of `evaluate`."""
    records = [
        question.record(clean(answer)) for question, answer in zip(questions, answers, strict=True)
    ]
    stats = metric.measure(records)
    return [
        Scored(question, answer, stat, metric)
        for question, answer, stat in zip(questions, answers, stats, strict=True)
    ]


def accuracy(scored: Sequence[Scored]) -> Share:
    """Return the share of right answers with its 95 % interval."""
    return share(sum(one.right for one in scored), len(scored))


def accuracy_by(scored: Sequence[Scored], key: Callable[[Question], str]) -> dict[str, Share]:
    """Return the accuracy of each group of questions, groups in order of appearance."""
    groups: dict[str, list[Scored]] = {}
    for one in scored:
        groups.setdefault(key(one.question), []).append(one)
    return {name: accuracy(group) for name, group in groups.items()}
