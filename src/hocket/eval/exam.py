"""An exam: questions, a way of drawing answers and metrics, whatever they come from.

A benchmark's files, its generated twin, rows of a data set with known answers, or a VLMEvalKit
table: each is an `Origin`, plain data that a folder of results keeps, so that the same questions
can be opened again for a report.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import mkdtemp
from typing import Literal

from hocket._errors import ConfigError, UnknownNameError
from hocket.checkpoint.manifest import machine_error
from hocket.data.mixture import open_source
from hocket.data.spec import DatasetSpec
from hocket.eval.judge import Judge
from hocket.eval.metrics import Metric
from hocket.eval.metrics.exact_match import ExactMatch
from hocket.eval.question import Question, questions_of
from hocket.eval.task import Anchor, Task, open_task, tasks
from hocket.eval.twin import write_twin
from hocket.eval.vlmevalkit import task_of_table
from hocket.infer.sampling import Sampling
from hocket.infer.thinking import split_thought

Kind = Literal["task", "twin", "rows", "vlmevalkit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an exam comes from.

    Attributes:
        kind: ``task``, ``twin``, ``rows`` or ``vlmevalkit``.
        name: of the task, or of the file of rows.
        place: the folder of a benchmark or twin, or the file of rows.
        source: storage format of rows.
        reader: row format of rows.
        media_root: folder that media of rows start from.
        max_new_tokens: longest answer; 0 takes the task's.
    """

    kind: Kind
    name: str
    place: str
    source: str = "json"
    reader: str = "llava"
    media_root: str = ""
    max_new_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """Questions and how their answers are scored.

    Attributes:
        origin: what it was made of.
        title: what tables call it.
        questions: yields them anew, in a fixed order.
        metrics: the first gives the headline number.
        sampling: how answers are drawn.
        clean: what is left of an answer before it is scored.
        version: of the task.
        tags: media and subjects.
        anchors: published numbers; none where the questions are not the benchmark's own.
    """

    origin: Origin
    title: str
    questions: Callable[[], Iterable[Question]]
    metrics: tuple[Metric, ...]
    sampling: Sampling
    clean: Callable[[str], str]
    version: int = 1
    tags: tuple[str, ...] = ()
    anchors: tuple[Anchor, ...] = field(default=(), repr=False)

    @property
    def slug(self) -> str:
        """Name of its folder of results."""
        twin = "-twin" if self.origin.kind == "twin" else ""
        return f"{self.origin.name}@{self.version}{twin}"

    def asked(self, limit: int = 0) -> Iterator[Question]:
        """Yield the first questions, to the end of the cluster that the limit falls into.

        Args:
            limit: how many; 0 for all.
        """
        last = ""
        for at, question in enumerate(self.questions()):
            if limit and at >= limit and question.cluster != last:
                return
            last = question.cluster
            yield question


def open_exam(origin: Origin) -> Exam:
    """Return the exam of an origin.

    Raises:
        UnknownNameError: there is no such task.
        DataError: the data set or table cannot be opened.
    """
    match origin.kind:
        case "task":
            return _of_task(origin, open_task(origin.name), Path(origin.place))
        case "twin":
            return _of_twin(origin)
        case "rows":
            return _of_rows(origin)
        case "vlmevalkit":
            table = Path(origin.place)
            return _of_task(origin, task_of_table(table), table.parent)


def choose_tasks(
    names: Sequence[str], *, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> list[str]:
    """Return the names of tasks that are meant.

    Args:
        names: names or patterns such as ``refcoco*``; of nothing all tasks.
        include: tags of which a task must have one; of nothing any task.
        exclude: tags that a task must not have.

    Raises:
        UnknownNameError: a name or pattern fits no task, or no task has such a tag.
        ConfigError: nothing is left.
    """
    known = tasks.names()
    for name in names:
        if not any(fnmatchcase(one, name) for one in known):
            raise UnknownNameError("task", name, known)
    tags = {name: set(tasks.get(name)().tags) for name in known}
    every = set().union(*tags.values())
    for tag in (*include, *exclude):
        if tag not in every:
            raise UnknownNameError("tag", tag, every)
    chosen = [
        name
        for name in known
        if (not names or any(fnmatchcase(name, pattern) for pattern in names))
        and (not include or tags[name] & set(include))
        and not tags[name] & set(exclude)
    ]
    if not chosen:
        raise ConfigError(
            "no task is left by these names and tags. List them with: hocket eval tasks"
        )
    return chosen


def with_judge(exam: Exam, judge: Judge) -> Exam:
    """Return an exam whose metrics ask a judge, where they want one; twins bring their own."""

    def asking(metric: Metric) -> Metric:
        options = {option.name for option in dataclasses.fields(metric)}  # type: ignore[arg-type]  # each is a dataclass
        return replace(metric, judge=judge) if "judge" in options else metric  # type: ignore[type-var]  # likewise

    if exam.origin.kind == "twin":
        return exam
    return replace(exam, metrics=tuple(asking(metric) for metric in exam.metrics))


def _of_task(origin: Origin, task: Task, folder: Path) -> Exam:
    sampling = task.sampling
    if origin.max_new_tokens:
        sampling = replace(sampling, max_new_tokens=origin.max_new_tokens)
    return Exam(
        origin=origin,
        title=task.title,
        questions=lambda: task.questions(folder),
        metrics=task.metrics,
        sampling=sampling,
        clean=task.clean,
        version=task.version,
        tags=task.tags,
        anchors=task.anchors,
    )


def _of_twin(origin: Origin) -> Exam:
    task = open_task(origin.name)
    folder = Path(origin.place)
    if not folder.exists():
        _write_twin_whole(task, folder)
    scored = replace(task, metrics=task.twin_metrics or task.metrics, anchors=())
    exam = _of_task(origin, scored, folder)
    return replace(exam, title=f"{task.title} (twin)")


def _write_twin_whole(task: Task, folder: Path) -> None:
    """Write a twin aside and rename it: several processes may want it at once."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(mkdtemp(prefix=".tmp-", dir=folder.parent))
    except OSError as error:
        raise machine_error(folder, error) from error
    try:
        write_twin(task, aside)
        aside.rename(folder)
    except OSError as error:
        if not folder.exists():
            raise machine_error(folder, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _of_rows(origin: Origin) -> Exam:
    spec = DatasetSpec(
        path=origin.place,
        source=origin.source,
        reader=origin.reader,
        media_root=origin.media_root,
    )

    def questions() -> Iterator[Question]:
        rows = open_source(origin.name, spec)
        seen: Counter[str] = Counter()
        for question in questions_of(rows[index] for index in range(len(rows))):
            sample = question.id.rpartition("#")[0]
            seen[question.id] += 1
            # Ids of rows may repeat; those of questions name their answers.
            again = f"#{seen[question.id]}" if seen[question.id] > 1 else ""
            name = question.id + again
            yield replace(question, id=name, group=question.modality, cluster=sample)

    return Exam(
        origin=origin,
        title=origin.name,
        questions=questions,
        metrics=(ExactMatch(),),
        sampling=Sampling(max_new_tokens=origin.max_new_tokens or 32),
        clean=lambda text: split_thought(text)[1].strip(),
    )
