"""The exams that a run sits while it trains: tasks, their twins, or the held-out rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from hocket._errors import ConfigError
from hocket.data.spec import DataSpec
from hocket.eval.exam import Exam, Origin, choose_tasks, open_exam
from hocket.eval.metrics import Metric
from hocket.eval.question import Question
from hocket.eval.resample import figures
from hocket.eval.scored import Scored, evaluate, score
from hocket.infer.engine import Engine
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.processor import HocketProcessor
from hocket.train.observe.exams import Answering, Exams, Marks
from hocket.train.recipe import Recipe

_TOGETHER = 8
"""Questions that a model in shares is asked at a time."""


def choose_exams(recipe: Recipe, data: DataSpec, out: Path) -> Exams | None:
    """Return the exams that a recipe asks for, or None if it asks for none.

    Args:
        recipe: with ``eval_every`` and what belongs to it.
        data: whose held-out rows are asked where no task is named.
        out: the run's folder; twins are written below it.

    Raises:
        ConfigError: there is nothing to ask.
        DataError: the questions of a task cannot be read.
    """
    if not recipe.eval_every:
        return None
    origins = _origins(recipe, data, out)
    if not origins:
        raise ConfigError(
            "train.eval_every is set, but there is nothing to ask. Name tasks in train.eval_tasks "
            "or data sets in data.heldout."
        )
    chosen: list[tuple[Exam, Sequence[Question]]] = []
    for origin in origins:
        exam = open_exam(origin)
        # Before the first step: a file that is missing is told now.
        chosen.append((exam, list(exam.asked(recipe.eval_limit))))

    def sit(
        model: HocketForConditionalGeneration,
        processor: HocketProcessor,
        answer: Answering | None,
    ) -> Marks:
        if answer is None:
            engine = Engine(model, processor)
            return {exam.slug: _mark(engine, exam, questions) for exam, questions in chosen}
        ask = partial(answer, model, processor)
        return {exam.slug: _mark_in_shares(ask, exam, asked) for exam, asked in chosen}

    return Exams(every=recipe.eval_every, sit=sit)


def _origins(recipe: Recipe, data: DataSpec, out: Path) -> list[Origin]:
    if not recipe.eval_tasks:
        return [
            Origin(
                kind="rows",
                name=name,
                place=spec.path,
                source=spec.source,
                reader=spec.reader,
                media_root=spec.media_root,
            )
            for name, spec in data.heldout.items()
        ]
    names = choose_tasks(recipe.eval_tasks)
    if recipe.eval_data:
        root = Path(recipe.eval_data)
        return [Origin(kind="task", name=name, place=str(root / name)) for name in names]
    root = out / "twins"
    return [Origin(kind="twin", name=name, place=str(root / name)) for name in names]


def _mark(engine: Engine, exam: Exam, questions: Sequence[Question]) -> dict[str, float | None]:
    metric = exam.metrics[0]
    scored = evaluate(engine, questions, metric=metric, sampling=exam.sampling, clean=exam.clean)
    return _headline(metric, scored)


def _mark_in_shares(
    ask: Callable[..., list[str]], exam: Exam, questions: Sequence[Question]
) -> dict[str, float | None]:
    """Mark a model that is asked by all processes together, a few questions at a time."""
    answers: list[str] = []
    for first in range(0, len(questions), _TOGETHER):
        few = [one.conversation for one in questions[first : first + _TOGETHER]]
        answers += ask(few, most_tokens=exam.sampling.max_new_tokens)
    metric = exam.metrics[0]
    return _headline(metric, score(questions, answers, metric=metric, clean=exam.clean))


def _headline(metric: Metric, scored: Sequence[Scored]) -> dict[str, float | None]:
    clusters = [one.question.cluster for one in scored]
    headline = next(islice(figures(metric, [one.stat for one in scored], clusters), 1))
    return {"value": headline.value, "low": headline.low, "high": headline.high}
