"""One exam of one model: ask what nobody has answered yet, and log each answer.

The log decides what is left: a run that was killed, a larger limit, other shards and earlier runs
of other tasks with the same prompts all count. Logs of a model are its cache of responses, found by
the hash of model, question, media and sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

from hocket._errors import DataError, MediaError
from hocket.eval.answers import AnswerLog, line_of, read_answers, read_lines, text_of
from hocket.eval.ask import Reply, ask
from hocket.eval.blind import Way, blinded, concerned
from hocket.eval.exam import Exam
from hocket.eval.identity import question_key
from hocket.eval.question import Question
from hocket.infer.engine import Engine


@dataclass(frozen=True, slots=True)
class Shard:
    """A share of the questions.

    Attributes:
        number: which, from 0.
        count: how many there are.
    """

    number: int = 0
    count: int = 1

    def has(self, at: int) -> bool:
        """Return whether the question of this number belongs to it."""
        return at % self.count == self.number


ALL = Shard()


class Watch(Protocol):
    """Who is told how far an exam is."""

    def begin(self, what: str, *, total: int, done: int) -> None:
        """Take in that an exam begins, some of it done before."""
        ...

    def advance(self) -> None:
        """Take in that a question more is answered."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitting:
    """A model sits an exam.

    Attributes:
        exam: what is asked.
        folder: of the exam's results, below the model's.
        fingerprint: of the model.
        limit: questions asked at most; 0 asks all.
        ways: blind ways of asking again.
        shard: the share of this process.
    """

    exam: Exam
    folder: Path
    fingerprint: str
    limit: int = 0
    ways: tuple[Way, ...] = ()
    shard: Shard = ALL

    def log_file(self, way: Way | None) -> Path:
        """Return the log of this process for a way of asking."""
        share = f".{self.shard.number + 1}-of-{self.shard.count}" if self.shard.count > 1 else ""
        return self.folder / f"{_stem(way)}{share}.jsonl"


def log_files(folder: Path, way: Way | None = None) -> list[Path]:
    """Return the logs of all processes for a way of asking, the one written last at the end."""
    stem = _stem(way)
    files = [*folder.glob(f"{stem}.jsonl"), *folder.glob(f"{stem}.*-of-*.jsonl")]
    return sorted(files, key=lambda file: (file.stat().st_mtime_ns, file.name))


def sit(
    sitting: Sitting, open_engine: Callable[[], Engine], watch: Watch
) -> tuple[tuple[str, ...], ...]:
    """Answer what is left of an exam, as it stands and in each blind way.

    Args:
        sitting: who is asked what.
        open_engine: called when there is something to ask.
        watch: told of every answer.

    Returns:
        The ids of the questions of each way, as it stands first, over all shards.

    Raises:
        DataError: the benchmark cannot be read, or a log is damaged.
        ConfigError: the model cannot be asked such questions.
        MachineError: the log cannot be written.
    """
    questions = list(sitting.exam.asked(sitting.limit))
    if not questions:
        raise DataError(
            f"{sitting.exam.origin.place} holds no question with a known answer. "
            "Rows need assistant turns."
        )
    earlier = _Earlier(sitting.folder.parent)
    asked = []
    ways: tuple[Way | None, ...] = (None, *sitting.ways)
    for way in ways:
        chosen = concerned(questions, way) if way else questions
        asked.append(tuple(one.id for one in chosen))
        if chosen:
            _sit_one(sitting, way, chosen, earlier, open_engine, watch)
    return tuple(asked)


def _sit_one(
    sitting: Sitting,
    way: Way | None,
    questions: list[Question],
    earlier: _Earlier,
    open_engine: Callable[[], Engine],
    watch: Watch,
) -> None:
    mine = [(at, one) for at, one in enumerate(questions) if sitting.shard.has(at)]
    with AnswerLog(sitting.log_file(way)) as log:
        known = read_answers(log_files(sitting.folder, way))
        done = sum(one.id in known and not known[one.id].reply.error for _, one in mine)
        name = f"{sitting.exam.slug}, {way}" if way else sitting.exam.slug
        watch.begin(name, total=len(mine), done=done)
        places: dict[str, tuple[int, str]] = {}

        def fresh() -> Iterator[Question]:
            """Yield questions that nobody has answered; log those that an earlier exam has."""
            for at, one in mine:
                try:
                    question = blinded(one, way) if way else one
                    key = question_key(
                        sitting.fingerprint, question.conversation, sitting.exam.sampling
                    )
                except MediaError as error:
                    log.add(line_of(at, "", one, Reply(error=str(error))))
                    continue
                line = known.get(one.id)
                if line is not None and line.key == key and not line.reply.error:
                    now = line_of(at, key, question, line.reply)
                    # Its right answer may have been corrected since.
                    if text_of(now) != text_of(line):
                        log.add(now)
                    continue
                reply = earlier.reply(key)
                if reply is not None:
                    log.add(line_of(at, key, question, reply))
                    watch.advance()
                    continue
                places[one.id] = (at, key)
                yield question

        left = fresh()
        first = next(left, None)
        if first is None:
            return
        asked = ask(open_engine(), chain([first], left), sitting.exam.sampling)
        for question, reply in asked:
            at, key = places.pop(question.id)
            log.add(line_of(at, key, question, reply))
            earlier.add(key, reply)
            watch.advance()


class _Earlier:
    """Answers that the logs of a model hold, whatever exam they are of."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._replies: dict[str, Reply] | None = None

    def reply(self, key: str) -> Reply | None:
        """Return the answer to a question that was asked before."""
        if self._replies is None:
            lines = read_lines(sorted(self._folder.glob("*/answers*.jsonl")))
            self._replies = {line.key: line.reply for line in lines if not line.reply.error}
        return self._replies.get(key)

    def add(self, key: str, reply: Reply) -> None:
        """Keep an answer."""
        if self._replies is not None and not reply.error:
            self._replies[key] = reply


def _stem(way: Way | None) -> str:
    return f"answers.{way}" if way else "answers"
