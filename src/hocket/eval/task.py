"""A task: a benchmark's files become questions, and answers become numbers.

A task is one file of ``eval/tasks`` with a function that returns a `Task`: which files, which
field is what, the prompt, the metrics, and a twin, a few generated rows in the same format, so
that the task runs without a download. At most one function, the hook, changes rows by hand.
Knows rows, prompts and metrics by name; must not know models.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from hocket._errors import ConfigError, DataError
from hocket._registry import Registry
from hocket.chat.conversation import Conversation, Json, Message, Part, Role, Text
from hocket.eval.metrics import Metric
from hocket.eval.question import Question, modality_of
from hocket.eval.table import MEDIA, Layout, Row, Value
from hocket.infer.sampling import Sampling
from hocket.infer.thinking import split_thought

Hook = Callable[[Row], Iterable[Row]]
"""Turns a row, its fields named, into the rows to ask about: none, one, or several."""

SHORT = "\nAnswer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."
GREEDY = Sampling(max_new_tokens=32)
_PROFILE = re.compile(r"\bprofile=(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A published number.

    Attributes:
        model: whose it is.
        metric: the value's name in the table.
        value: as printed, percent where the metric is.
        source: where it is printed.
        profile: of the metric, that the number was computed with; empty for its default.
        verified: whether somebody of us compared it with the publication itself.
        note: what differs from the task's default way of asking.
    """

    model: str
    metric: str
    value: float
    source: str
    profile: str = ""
    verified: bool = False
    note: str = ""

    def fits(self, label: str) -> bool:
        """Return whether a metric of this label is computed in the anchor's profile."""
        found = _PROFILE.search(label)
        return self.profile == (found[1] if found else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A benchmark.

    Attributes:
        title: what tables call it.
        download: where its files come from, for the message that says they are missing.
        layouts: the forms in which it is published; the first whose files are there is read.
        prompt: the user's turn after the media, with fields of the row in braces; ``{options}`` is
            the list ``options`` as lettered lines.
        metrics: the first gives the headline number.
        twin: generated rows with the task's names for fields and media in memory.
        twin_metrics: metrics of the twin, where the real ones need a judge or data from elsewhere.
        anchors: published numbers.
        tags: media and subjects to choose tasks by.
        hook: changes rows by hand, where names and a prompt do not suffice.
        keep: fields that metrics and reports need besides the answer.
        sampling: how answers are generated.
        clean: what is left of an answer before it is scored; the default drops spoken thoughts.
        version: raised whenever numbers change.
        name: the name of its file; `open_task` sets it.
    """

    title: str
    download: str
    layouts: tuple[Layout, ...]
    prompt: str
    metrics: tuple[Metric, ...]
    twin: Callable[[], Sequence[Row]]
    anchors: tuple[Anchor, ...]
    tags: tuple[str, ...]
    twin_metrics: tuple[Metric, ...] = ()
    hook: Hook | None = None
    keep: tuple[str, ...] = ()
    sampling: Sampling = GREEDY
    clean: Callable[[str], str] = field(default=lambda text: split_thought(text)[1].strip())
    version: int = 1
    name: str = ""

    def layout(self, folder: Path) -> Layout:
        """Return the layout whose files are in a folder.

        Raises:
            DataError: there is none; the message says what to download.
        """
        for layout in self.layouts:
            if layout.present(folder):
                return layout
        wanted = " or ".join(" and ".join(layout.files()) for layout in self.layouts)
        raise DataError(
            f"{self.title}: {folder} has no {wanted}. Download {self.download} into that folder."
        )

    def questions(self, folder: Path) -> Iterator[Question]:
        """Yield the questions of the benchmark in a folder, in a fixed order.

        Ids that a benchmark gives twice get a number: ``7``, ``7#2``, ``7#3``.

        Raises:
            DataError: a file or medium is missing or damaged, or a row lacks a field.
        """
        seen: Counter[str] = Counter()
        for where, stored in self.layout(folder).rows(folder):
            try:
                for row in self.hook(stored) if self.hook else (stored,):
                    name = str(row["id"])
                    seen[name] += 1
                    again = f"#{seen[name]}" if seen[name] > 1 else ""
                    yield self._question(row, name + again, where)
            except (KeyError, ValueError, IndexError, TypeError) as error:
                raise DataError(
                    f"{where} is no row of {self.title} ({type(error).__name__}: {error}); it has "
                    f"{', '.join(map(str, stored))}. Check that it is the benchmark's own file."
                ) from error

    def _question(self, row: Row, name: str, where: str) -> Question:
        key: Json = row["answer"]
        conversation = Conversation(
            id=name, messages=(Message(Role.USER, self._parts(row)),), source=where
        )
        kept = ("question", "options", *self.keep)
        return Question(
            id=name,
            conversation=conversation,
            target=str(row["target"]) if "target" in row else usual_answer(key),
            modality=modality_of(conversation),
            task=self.name,
            key=key,
            group=str(row.get("group", "")),
            cluster=str(row.get("cluster", row["id"])),
            meta={name: row[name] for name in kept if name in row},
        )

    def _parts(self, row: Row) -> tuple[Part, ...]:
        if "parts" in row:
            return tuple(row["parts"])
        media: list[Part] = []
        for kind in MEDIA:
            found = row.get(kind, ())
            media += found if isinstance(found, tuple) else (found,)
        text = self.prompt.format_map({**row, "options": lettered(row.get("options"))})
        return (*media, Text("\n" * bool(media) + text))


def usual_answer(key: Json) -> str:
    """Return the answer that a key holds most often, or the one that it is."""
    if isinstance(key, list) and key:
        return Counter(str(one) for one in key).most_common(1)[0][0]
    return str(key)


def lettered(options: Value) -> str:
    """Return options as lines ``A. text``; of no options nothing."""
    if not isinstance(options, list):
        return ""
    pairs = zip(string.ascii_uppercase, options, strict=False)
    return "\n".join(f"{letter}. {option}" for letter, option in pairs)


class TaskFile(Protocol):
    """What a file of ``eval/tasks`` registers."""

    __module__: str

    def __call__(self) -> Task:
        """Return the task."""
        ...


tasks: Registry[TaskFile] = Registry("hocket.eval.tasks", noun="task")


def open_task(name: str) -> Task:
    """Return a task by the name of its file.

    Raises:
        UnknownNameError: there is none.
    """
    return replace(tasks.get(name)(), name=name)


def with_metrics(task: Task, chosen: Mapping[str, Metric]) -> Task:
    """Return a task with other options of its metrics, such as a profile or a judge.

    Args:
        task: what is changed.
        chosen: name or label of a metric -> the metric that takes its place.

    Raises:
        ConfigError: the task has no such metric.
    """
    known = {label for one in task.metrics for label in (one.name, one.label)}
    for name in chosen:
        if name not in known:
            raise ConfigError(
                f"the task {task.name} has no metric {name!r}; it has {', '.join(sorted(known))}."
            )
    changed = tuple(chosen.get(one.label, chosen.get(one.name, one)) for one in task.metrics)
    return replace(task, metrics=changed)
