"""Many models sit many exams: a failure does not stop the others; what is finished is skipped.

Several processes share the questions of each exam as shards; whoever finds all answers there writes
the scores, so it does not matter who comes last. Knows results on the disk and the engine.
"""

from __future__ import annotations

import functools
import gc
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from pydantic import TypeAdapter, ValidationError

from hocket._errors import CheckpointError, DataError, HocketError, MachineError
from hocket.checkpoint.loading import Placement
from hocket.eval.blind import Way
from hocket.eval.exam import Exam, Origin, open_exam, with_judge
from hocket.eval.identity import Candidate, find_candidate
from hocket.eval.judge import Judge, Unasked
from hocket.eval.run import ALL, Shard, Sitting, Watch, sit
from hocket.eval.scores import SCORES, Scores, read_scores, score_logs, write_whole
from hocket.infer.engine import Engine
from hocket.infer.options import EngineOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is evaluated.

    Attributes:
        models: checkpoint directories or runs' folders.
        exams: what they are asked.
        out: folder of all results.
        limit: questions of each exam at most; 0 for all.
        ways: blind ways of asking again.
        shard: the share of this process.
        rescore: score what is there, without the model.
        collect: take what other processes have answered, without the model.
        judge: of metrics that need one.
        judged_by: its name.
        placement: where models run.
        rows: answers that a model generates at a time.
        since: scores that are younger, in seconds since 1970, do not count as finished: another
            process that shares the work wrote them, maybe without answers that this one owes.
    """

    models: tuple[str, ...]
    exams: tuple[Origin, ...]
    out: Path
    limit: int = 0
    ways: tuple[Way, ...] = ()
    shard: Shard = ALL
    rescore: bool = False
    collect: bool = False
    judge: Judge = field(default_factory=Unasked)
    judged_by: str = ""
    placement: Placement = field(default_factory=Placement)
    rows: int = 32
    since: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What of an exam was asked, beside its answers.

    Attributes:
        limit: questions at most; 0 for all.
        ways: blind ways.
        ids: of the questions as they stand, and of each way.
        stamp: size and time of the file of rows; empty of a folder.
    """

    limit: int
    ways: tuple[Way, ...]
    ids: tuple[tuple[str, ...], ...]
    stamp: str = ""


ASKED = "asked.json"
_ASKED: TypeAdapter[Asked] = TypeAdapter(Asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an exam of a model went.

    Attributes:
        model: the checkpoint's name, or its path where it could not be opened.
        exam: name of the exam.
        scores: None where there are none.
        error: why it failed; None with no scores means that other shards have not finished.
        error_code: the exit code of the error.
        skipped: whether nothing had to be done.
    """

    model: str
    exam: str
    scores: Scores | None = None
    error: str | None = None
    error_code: int = 0
    skipped: bool = False

    @property
    def exit_code(self) -> int:
        """0 for success, 1 where single questions could not be asked, else that of the error."""
        if self.error is not None:
            return self.error_code
        return 1 if self.scores is not None and self.scores.errors else 0


class Observer(Watch, Protocol):
    """Who is told how far a sweep is."""

    def model(self, name: str) -> None:
        """Take in that another model is looked at."""
        ...

    def end(self, outcome: Outcome) -> None:
        """Take in how an exam went."""
        ...


def run_sweep(plan: Plan, watch: Observer) -> list[Outcome]:
    """Let every model sit every exam.

    Args:
        plan: who is asked what.
        watch: told of every answer.

    Returns:
        One outcome per model and exam.
    """
    outcomes = []
    for path in plan.models:
        try:
            candidate = find_candidate(path)
        except HocketError as error:
            for origin in plan.exams:
                outcomes.append(_failed(path, origin, error))
                watch.end(outcomes[-1])
            continue
        watch.model(candidate.name)
        outcomes += _sit_all(plan, candidate, watch)
    return outcomes


def _failed(model: str, origin: Origin, error: Exception) -> Outcome:
    if isinstance(error, HocketError):
        return Outcome(model=model, exam=origin.name, error=str(error), error_code=error.exit_code)
    text = f"the memory is full ({error}). Ask fewer at a time with --rows."
    return Outcome(model=model, exam=origin.name, error=text, error_code=MachineError.exit_code)


def _sit_all(plan: Plan, candidate: Candidate, watch: Observer) -> list[Outcome]:
    @functools.cache
    def engine() -> Engine:
        # Opened when something is left to ask; one model at a time is in memory.
        options = EngineOptions(max_rows=plan.rows)
        return Engine.load(candidate.folder, plan.placement, options)

    outcomes: list[Outcome] = []
    broken: CheckpointError | None = None
    for origin in plan.exams:
        try:
            if broken:
                raise broken
            outcome = _sit_one(plan, candidate, origin, engine, watch)
        except CheckpointError as error:
            # Opening it once more would take as long and end the same.
            broken = error
            outcome = _failed(candidate.name, origin, error)
        except (HocketError, torch.OutOfMemoryError, MemoryError) as error:
            outcome = _failed(candidate.name, origin, error)
        outcomes.append(outcome)
        watch.end(outcome)
    engine.cache_clear()
    gc.collect()
    return outcomes


def _sit_one(
    plan: Plan,
    candidate: Candidate,
    origin: Origin,
    engine: Callable[[], Engine],
    watch: Observer,
) -> Outcome:
    exam = with_judge(open_exam(origin), plan.judge)
    folder = plan.out / candidate.slug / exam.slug
    if not plan.rescore:
        known = _finished(plan, exam, folder)
        if known is not None:
            return Outcome(model=candidate.name, exam=exam.slug, scores=known, skipped=True)
    if not (plan.rescore or plan.collect):
        sitting = Sitting(
            exam=exam,
            folder=folder,
            fingerprint=candidate.fingerprint,
            limit=plan.limit,
            ways=plan.ways,
            shard=plan.shard,
        )
        stamp = _stamp(exam)
        ids = sit(sitting, engine, watch)
        _note_asked(folder, Asked(limit=plan.limit, ways=plan.ways, ids=ids, stamp=stamp))
    asked = _read_asked(folder)
    if asked is None:
        raise DataError(f"{folder} holds no answers to score. Run the command without --rescore.")
    scores = score_logs(
        candidate,
        exam,
        folder,
        limit=asked.limit,
        ways=asked.ways,
        ids=asked.ids,
        judge=plan.judged_by,
    )
    return Outcome(model=candidate.name, exam=exam.slug, scores=scores)


def _finished(plan: Plan, exam: Exam, folder: Path) -> Scores | None:
    """Return the scores of an exam of which nothing is left to do."""
    try:
        scores, asked = read_scores(folder), _read_asked(folder)
    except DataError:
        return None
    if scores is None or asked is None:
        return None
    if not plan.collect and (folder / SCORES).stat().st_mtime > plan.since:
        return None
    same = (
        asked.stamp == _stamp(exam)
        and scores.limit == plan.limit
        and scores.origin == exam.origin
        and scores.judge == plan.judged_by
        and [one.label for one in scores.metrics] == [metric.label for metric in exam.metrics]
        and set(plan.ways) <= set(asked.ways)
    )
    return scores if same and not scores.errors and not scores.unscored else None


def _stamp(exam: Exam) -> str:
    """Return what changes with a file of rows; a benchmark's folder is not looked through."""
    place = Path(exam.origin.place)
    if not place.is_file():
        return ""
    found = place.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def _note_asked(folder: Path, asked: Asked) -> None:
    write_whole(folder / ASKED, _ASKED.dump_json(asked).decode() + "\n")


def _read_asked(folder: Path) -> Asked | None:
    file = folder / ASKED
    if not file.exists():
        return None
    try:
        return _ASKED.validate_json(file.read_bytes())
    except ValidationError as error:
        raise DataError(
            f"{file} is damaged. Delete it, then run the same command again."
        ) from error
