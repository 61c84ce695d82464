"""Ask the engine every question and count the right answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hocket.eval.interval import Share, share
from hocket.eval.metrics.exact_match import normalise
from hocket.eval.question import Question
from hocket.infer.engine import Engine
from hocket.infer.sampling import Sampling


@dataclass(frozen=True, slots=True)
class Scored:
    """A question with the model's answer.

    Attributes:
        question: what was asked.
        answer: what the model said.
        right: whether it equals the target after `normalise`.
    """

    question: Question
    answer: str
    right: bool


def evaluate(
    engine: Engine,
    questions: Sequence[Question],
    *,
    batch: int = 32,
    max_new_tokens: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> list[Scored]:
    """Answer every question greedily, in batches of similar length.

    Args:
        engine: the model.
        questions: what to ask.
        batch: questions answered together.
        max_new_tokens: longest answer in tokens.
        progress: called with (done, all) after each batch.

    Returns:
        One result per question, in the order of the questions.
    """
    order = sorted(
        range(len(questions)), key=lambda at: (questions[at].modality, questions[at].task)
    )
    results: dict[int, Scored] = {}
    sampling = Sampling(max_new_tokens=max_new_tokens)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        answers = engine.answer([questions[at].conversation for at in chosen], sampling)
        for at, answer in zip(chosen, answers, strict=True):
            right = normalise(answer.text) == normalise(questions[at].target)
            results[at] = Scored(questions[at], answer.text, right)
        if progress:
            progress(len(results), len(order))
    return [results[at] for at in range(len(questions))]


def accuracy(scored: Sequence[Scored]) -> Share:
    """Return the share of right answers with its 95 % interval."""
    return share(sum(one.right for one in scored), len(scored))


def accuracy_by(scored: Sequence[Scored], key: Callable[[Question], str]) -> dict[str, Share]:
    """Return the accuracy of each group of questions, groups in order of appearance."""
    groups: dict[str, list[Scored]] = {}
    for one in scored:
        groups.setdefault(key(one.question), []).append(one)
    return {name: accuracy(group) for name, group in groups.items()}
