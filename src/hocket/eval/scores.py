"""What an exam came to: numbers with intervals, by group and blind way, and each answer's score.

Computed from the logs alone, so it needs neither the model nor the benchmark, and always in the
order of the questions, so it does not depend on who answered which. Knows logs and metrics; must
not know models.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hocket._errors import DataError
from hocket.checkpoint.manifest import machine_error
from hocket.eval.answers import Line, read_answers
from hocket.eval.blind import WAYS, Way
from hocket.eval.exam import Exam, Origin
from hocket.eval.identity import Candidate
from hocket.eval.metrics import Metric, Stat
from hocket.eval.metrics.needle import Needle, heat_map
from hocket.eval.resample import Difference, Figure, difference, figures
from hocket.eval.run import log_files

SCORES = "scores.json"
SAMPLES = "samples.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricScores:
    """The numbers of one metric.

    Attributes:
        label: of the metric, with its profile.
        percent: whether the headline is shown times 100.
        best: score of one perfect answer.
        figures: the headline first.
        as_is: names of those that are shown as they are.
    """

    label: str
    percent: bool
    best: float
    figures: tuple[Figure, ...]
    as_is: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A number of somebody else's, of the same task, metric and profile.

    Attributes:
        model: whose.
        figure: the name of the number.
        value: as printed.
        source: where.
        note: what differs, or that it has not been verified.
    """

    model: str
    figure: str
    value: float
    source: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What an exam of one model came to.

    Attributes:
        model: name of the checkpoint.
        fingerprint: of its files.
        run: that it belongs to.
        stage: of training.
        step: of that stage.
        origin: of the exam.
        exam: its name.
        title: what tables call it.
        version: of the task.
        tags: of the task.
        limit: questions asked at most; 0 for all.
        judge: who judged, empty where nobody.
        questions: how many the exam has.
        errors: how many could not be asked.
        invalid: answers in which nothing could be understood, by the first metric.
        unscored: answers without a score, by the first metric.
        cut: answers that the limit of tokens ended.
        clusters: how many there are.
        tokens: generated.
        metrics: the first is the headline.
        groups: the headline number of each group.
        blind: what a way of asking blind changes, of the questions that it concerns.
        published: numbers to compare with.
        cells: of needles, length in frames, depth and share found.
    """

    model: str
    fingerprint: str
    run: str
    stage: str = ""
    step: int | None = None
    origin: Origin
    exam: str
    title: str
    version: int
    tags: tuple[str, ...]
    limit: int
    judge: str
    questions: int
    errors: int
    invalid: int
    unscored: int
    cut: int
    clusters: int
    tokens: int
    metrics: tuple[MetricScores, ...]
    groups: dict[str, Figure] = field(default_factory=dict)
    blind: dict[Way, Difference] = field(default_factory=dict)
    published: tuple[Published, ...] = ()
    cells: tuple[tuple[int, float, float], ...] = ()

    @property
    def headline(self) -> Figure:
        """The number that stands for the exam."""
        return self.metrics[0].figures[0]

    @property
    def percent(self) -> bool:
        """Whether the headline is shown times 100."""
        return self.metrics[0].percent


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The scores of one answer.

    Attributes:
        id: of the question.
        cluster: of the question.
        stats: label of a metric -> what it measured.
    """

    id: str
    cluster: str
    stats: dict[str, Stat]


_SCORES: TypeAdapter[Scores] = TypeAdapter(Scores)


def score_logs(
    candidate: Candidate,
    exam: Exam,
    folder: Path,
    *,
    limit: int,
    ways: Sequence[Way] = (),
    ids: Sequence[Sequence[str]] | None = None,
    judge: str = "",
) -> Scores | None:
    """Score the logs of a folder and write ``scores.json`` and ``samples.jsonl``.

    Args:
        candidate: the model.
        exam: what was asked.
        folder: of the exam's results.
        limit: of the questions; it is noted.
        ways: blind ways to compare with.
        ids: of the questions of the exam and of each way, as `sit` returned them, in order; what
            else is in the logs is of other files of that name. None takes all that is there.
        judge: who judges; it is noted.

    Returns:
        None where answers are missing, such as those of another shard.

    Raises:
        DataError: a log or key is damaged.
        MachineError: the files cannot be written.
    """
    asked: tuple[Way | None, ...] = (None, *ways)
    logs = {way: read_answers(log_files(folder, way)) for way in asked}
    wanted = ids or [list(logs[way]) for way in asked]
    for way, names in zip(asked, wanted, strict=True):
        if any(name not in logs[way] for name in names):
            return None
        logs[way] = {name: logs[way][name] for name in names}
    plain = [line for line in logs[None].values() if not line.reply.error]
    stats = _measure(exam, plain)
    blind = {
        way: found
        for way in ways
        if (found := _drop(exam, plain, stats[0], list(logs[way].values()))) is not None
    }
    scores = _scores(candidate, exam, list(logs[None].values()), stats, limit, judge, blind)
    _write(folder, scores, plain, exam.metrics, stats)
    return scores


def read_scores(folder: Path) -> Scores | None:
    """Return the scores of a folder, or None where there are none yet.

    Raises:
        DataError: the file is damaged.
    """
    file = folder / SCORES
    if not file.exists():
        return None
    try:
        return _SCORES.validate_json(file.read_bytes())
    except ValidationError as error:
        raise DataError(
            f"{file} is damaged or of another version of hocket ({error.error_count()} faults). "
            "Run hocket eval with --rescore."
        ) from error


def read_samples(folder: Path) -> dict[str, Sample]:
    """Return the scores of each answer by the id of its question.

    Raises:
        DataError: the file is missing or damaged.
    """
    file = folder / SAMPLES
    try:
        rows = [json.loads(row) for row in file.read_bytes().splitlines()]
        return {row["id"]: _sample(row) for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is missing or damaged. Run hocket eval with --rescore.") from error


def _sample(row: dict[str, Any]) -> Sample:
    stats = {label: Stat(**stat) for label, stat in row["stats"].items()}
    return Sample(id=row["id"], cluster=row["cluster"], stats=stats)


def write_whole(file: Path, text: str) -> None:
    """Write a file aside and rename it, so that nobody finds half of it.

    Raises:
        MachineError: it cannot be written.
    """
    # Shards may end at the same time.
    aside = file.with_name(f".tmp-{os.getpid()}-{file.name}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8")
        aside.replace(file)
    except OSError as error:
        raise machine_error(file, error) from error


def _measure(exam: Exam, lines: Sequence[Line]) -> list[list[Stat]]:
    records = [line.record(exam.clean(line.reply.text)) for line in lines]
    return [metric.measure(records) for metric in exam.metrics]


def _drop(
    exam: Exam, plain: Sequence[Line], stats: Sequence[Stat], blind: Sequence[Line]
) -> Difference | None:
    """Return the headline of a way minus that of the same questions as they stand."""
    places = {line.id: at for at, line in enumerate(plain)}
    both = [line for line in blind if line.id in places and not line.reply.error]
    if not both:
        return None
    first = exam.metrics[0]
    seen = [stats[places[line.id]] for line in both]
    unseen = first.measure([line.record(exam.clean(line.reply.text)) for line in both])
    return difference(first, seen, unseen, [line.cluster for line in both])


def _scores(
    candidate: Candidate,
    exam: Exam,
    lines: Sequence[Line],
    stats: Sequence[Sequence[Stat]],
    limit: int,
    judge: str,
    blind: Mapping[Way, Difference],
) -> Scores:
    kept = [line for line in lines if not line.reply.error]
    clusters = [line.cluster for line in kept]
    measured = tuple(
        MetricScores(
            label=metric.label,
            percent=metric.percent,
            best=metric.best_answer,
            figures=tuple(figures(metric, one, clusters)),
            as_is=metric.as_is,
        )
        for metric, one in zip(exam.metrics, stats, strict=True)
    )
    whole = not limit and exam.origin.kind == "task"
    cells = heat_map(stats[0]) if isinstance(exam.metrics[0], Needle) else {}
    return Scores(
        model=candidate.name,
        fingerprint=candidate.fingerprint,
        run=candidate.run,
        stage=candidate.stage,
        step=candidate.step,
        origin=exam.origin,
        exam=exam.slug,
        title=exam.title,
        version=exam.version,
        tags=exam.tags,
        limit=limit,
        judge=judge,
        questions=len(lines),
        errors=len(lines) - len(kept),
        invalid=sum(not stat.valid for stat in stats[0]),
        unscored=sum(stat.score is None for stat in stats[0]),
        cut=sum(not line.reply.finished for line in kept),
        clusters=len(set(clusters)),
        tokens=sum(line.reply.tokens for line in kept),
        metrics=measured,
        groups=_groups(exam.metrics[0], kept, stats[0]),
        blind={way: blind[way] for way in WAYS if way in blind},
        published=_published(exam, measured) if whole else (),
        cells=tuple((frames, depth, found) for (frames, depth), found in cells.items()),
    )


def _groups(metric: Metric, lines: Sequence[Line], stats: Sequence[Stat]) -> dict[str, Figure]:
    """Return the headline of each group, of groups that are not all or nothing."""
    members: dict[str, list[int]] = {}
    for at, line in enumerate(lines):
        members.setdefault(line.group, []).append(at)
    if len(members) < 2:
        return {}
    return {
        name: figures(metric, [stats[at] for at in some], [lines[at].cluster for at in some])[0]
        for name, some in members.items()
    }


def _published(exam: Exam, measured: Sequence[MetricScores]) -> tuple[Published, ...]:
    """Return the anchors whose number was computed here in the same profile."""
    return tuple(
        Published(
            model=anchor.model,
            figure=anchor.metric,
            value=anchor.value,
            source=anchor.source,
            note=anchor.note or ("" if anchor.verified else "not verified with the publication"),
        )
        for anchor in exam.anchors
        if any(
            anchor.fits(one.label) and anchor.metric in {figure.name for figure in one.figures}
            for one in measured
        )
    )


def _write(
    folder: Path,
    scores: Scores,
    lines: Sequence[Line],
    metrics: Sequence[Metric],
    stats: Sequence[Sequence[Stat]],
) -> None:
    rows = [
        Sample(
            id=line.id,
            cluster=line.cluster,
            stats={metric.label: one[at] for metric, one in zip(metrics, stats, strict=True)},
        )
        for at, line in enumerate(lines)
    ]
    text = "".join(json.dumps(asdict(row), default=str) + "\n" for row in rows)
    write_whole(folder / SAMPLES, text)
    # Last: it says that the exam is finished.
    write_whole(folder / SCORES, _SCORES.dump_json(scores, indent=1).decode() + "\n")
