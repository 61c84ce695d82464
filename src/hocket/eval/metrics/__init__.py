"""Metrics: one file per metric, registered under the file's name.

A metric first measures every answer alone, then reduces the measurements to the numbers of a
table. The measurements hold all that the reduction needs, so any choice of samples (a bootstrap,
a group, a shard) is reduced without the model and without the other samples.

Where references disagree a metric has a ``profile``; the default is free of known defects.
Knows answers and keys; must not know models, media or files of benchmarks.
"""

from __future__ import annotations

import dataclasses
import operator
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from hocket._registry import Registry
from hocket.chat.conversation import Json

# Options that a label may show; a judge or a folder is not one.
_SHOWN = (str, int, float, bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One answered question, as a log keeps it: all that a metric may look at.

    Attributes:
        id: of the question.
        answer: what the model said, cleaned as the task says.
        target: an answer that is right.
        key: the benchmark's own answer key, such as ten human answers or a box.
        group: the part of the benchmark that it belongs to, such as a category.
        cluster: what it shares with other questions, such as the picture.
        meta: other fields of the row that the task keeps, such as ``question`` and ``options``.
    """

    id: str
    answer: str
    target: str
    key: Json = None
    group: str = ""
    cluster: str = ""
    meta: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """What a metric measured of one answer.

    Attributes:
        score: of this answer alone; None where it could not be scored, such as when a judge fails.
        parsed: what the metric understood, as a report shows it.
        valid: False where nothing could be understood; such an answer counts as wrong.
        parts: numbers and names that the reduction needs besides the score.
    """

    score: float | None
    parsed: str = ""
    valid: bool = True
    parts: Mapping[str, Json] = field(default_factory=dict)


class Metric:
    """How answers are scored; a subclass is a frozen dataclass whose fields are its options.

    Attributes:
        best: the score of a perfect answer.
        worst: the score of a wrong one.
        percent: whether publications print it times 100.
        as_is: names of numbers that nobody prints times 100, such as counts.
        scored_with: the part of a measurement that says which answers are scored together, such as
            the picture; empty where each is scored alone. A bootstrap tells copies apart by it.
    """

    best: ClassVar[float] = 1.0
    worst: ClassVar[float] = 0.0
    percent: ClassVar[bool] = True
    as_is: ClassVar[tuple[str, ...]] = ()
    scored_with: ClassVar[str] = ""

    @property
    def best_answer(self) -> float:
        """The score of one perfect answer, which a metric may count otherwise than `best`."""
        return self.best

    @property
    def name(self) -> str:
        """The name it is registered under; also that of the first value of `reduce`."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def label(self) -> str:
        """The name with the options that are not the default: ``exact_match(profile=gqa)``."""
        usual, found = type(self)(), []
        for option in dataclasses.fields(self):  # type: ignore[arg-type]  # each is a dataclass
            read = operator.attrgetter(option.name)
            if isinstance(read(self), _SHOWN) and read(self) != read(usual):
                found.append(f"{option.name}={read(self)}")
        return f"{self.name}({', '.join(found)})" if found else self.name

    def stat(self, record: Record) -> Stat:
        """Measure one answer.

        Raises:
            DataError: the key has another shape than the metric expects.
        """
        raise NotImplementedError(f"{self.name} measures all answers together")

    def measure(self, records: Sequence[Record]) -> list[Stat]:
        """Measure every answer, in order.

        Raises:
            DataError: a key has another shape than the metric expects.
        """
        return [self.stat(record) for record in records]

    def reduce(self, stats: Sequence[Stat]) -> dict[str, float]:
        """Return the numbers of a table, the most important first; answers without a score are out.

        Args:
            stats: of any choice of answers; of none the numbers are NaN.
        """
        return {self.name: mean([stat.score for stat in stats if stat.score is not None])}


def mean(values: Sequence[float]) -> float:
    """Return the mean, or NaN of nothing."""
    return statistics.fmean(values) if values else float("nan")


metrics: Registry[type[Metric]] = Registry("hocket.eval.metrics", noun="metric")
