"""Every task reads its twin, builds prompts, and its metrics tell right from wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.toy import toy

from hocket._errors import DataError
from hocket.eval.metrics import Metric, Record
from hocket.eval.question import Question
from hocket.eval.task import Task, open_task, tasks
from hocket.eval.twin import write_twin

FORMS = [(name, form) for name in tasks.names() for form in range(len(tasks.get(name)().layouts))]


def opposite(target: str) -> str:
    """Return an answer that is as wrong as can be."""
    return {"yes": "no", "no": "yes"}.get(target.lower(), "zzqx")


def headline(metric: Metric, records: list[Record]) -> float:
    return metric.reduce(metric.measure(records))[metric.name]


def twin(name: str, folder: Path, form: int = 0) -> tuple[Task, list[Question]]:
    task = open_task(name)
    scored = write_twin(task, folder, layout=form)
    alone = replace(task, layouts=(task.layouts[form],))
    return scored, list(alone.questions(folder))


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_a_perfect_answer_scores_most_and_a_wrong_one_least(
    name: str, form: int, tmp_path: Path
) -> None:
    task, questions = twin(name, tmp_path, form)
    assert questions
    right = [question.record(question.target) for question in questions]
    wrong = [question.record(opposite(question.target)) for question in questions]
    for metric in task.metrics:
        best = metric.best * (2 if metric.name == "mme" else 1)  # two categories in the twin
        assert headline(metric, right) == pytest.approx(best, abs=1e-6)
        if metric.best > metric.worst:
            assert headline(metric, wrong) == pytest.approx(metric.worst, abs=1e-6)
        else:
            assert headline(metric, wrong) >= metric.worst


@pytest.mark.parametrize("name", tasks.names())
def test_prompts_become_tokens(name: str, tmp_path: Path) -> None:
    _, questions = twin(name, tmp_path)
    processor = toy().processor
    ids = [question.id for question in questions]
    assert len(set(ids)) == len(ids)
    for question in questions[:4]:
        example = processor.encode(question.conversation, for_answer=True)
        assert len(example.outline.input_ids) > 0
        assert question.conversation.messages[0].text.strip()
        assert question.task == name
        assert all(question.target and question.cluster for question in questions)


@pytest.mark.parametrize("name", tasks.names())
def test_missing_files_are_named_with_where_they_come_from(name: str, tmp_path: Path) -> None:
    task = open_task(name)
    with pytest.raises(DataError) as caught:
        list(task.questions(tmp_path))
    said = str(caught.value)
    assert task.download in said
    assert str(tmp_path) in said
    assert "\n" not in said


@pytest.mark.parametrize("name", tasks.names())
def test_every_task_says_what_it_is(name: str) -> None:
    task = open_task(name)
    assert task.tags and task.title and task.metrics
    labels = [metric.label for metric in task.metrics]
    assert len(set(labels)) == len(labels)
    # Nobody has published a number for describing EnvDrop's tours.
    assert task.anchors or name == "envdrop"
    for anchor in task.anchors:
        assert anchor.source
        assert anchor.model
