"""The log of answers: JSON lines that are only ever added to, each on the disk before the next.

Several processes write a file each; whoever reads takes them together. A line cut by a kill is cut
off when the log is opened again. A line holds all that scores need, so that scoring needs neither
the model nor the benchmark. Knows lines; must not know metrics or models.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from hocket._errors import DataError, MachineError
from hocket.chat.conversation import Json, Text
from hocket.checkpoint.manifest import flush, machine_error, make_folder
from hocket.eval.ask import Reply
from hocket.eval.metrics import Record
from hocket.eval.question import KINDS, Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One answered question.

    Attributes:
        at: its number in the exam.
        id: of the question.
        key: hash of model, question, media and sampling.
        prompt: all turns as text, media as ``<image>`` and so on.
        modality: of its media.
        reply: what came of it.
        target: a right answer.
        truth: the benchmark's answer key.
        group: the part of the benchmark.
        cluster: what it shares with other questions.
        meta: fields that metrics need.
    """

    at: int
    id: str
    key: str
    prompt: str
    modality: str
    reply: Reply
    target: str
    truth: Json
    group: str
    cluster: str
    meta: dict[str, Json]

    def record(self, answer: str) -> Record:
        """Return what metrics see of it, the answer cleaned already."""
        return Record(
            id=self.id,
            answer=answer,
            target=self.target,
            key=self.truth,
            group=self.group,
            cluster=self.cluster,
            meta=self.meta,
        )


def line_of(at: int, key: str, question: Question, reply: Reply) -> Line:
    """Return the line of a question and its answer."""
    return Line(
        at=at,
        id=question.id,
        key=key,
        prompt=_prompt(question),
        modality=question.modality,
        reply=reply,
        target=question.target,
        truth=question.key,
        group=question.group,
        cluster=question.cluster,
        meta=dict(question.meta),
    )


def text_of(line: Line) -> str:
    """Return a line as its log has it, without the end."""
    return json.dumps(asdict(line), ensure_ascii=False, default=str)


def read_answers(files: Iterable[Path]) -> dict[str, Line]:
    """Return the lines of logs by the id of their question; an answer counts more than an error.

    Raises:
        DataError: a line that is not the last is damaged.
    """
    found: dict[str, Line] = {}
    for line in read_lines(files):
        if line.id not in found or not line.reply.error:
            found[line.id] = line
    return dict(sorted(found.items(), key=lambda pair: pair[1].at))


def read_lines(files: Iterable[Path]) -> Iterator[Line]:
    """Yield every line of logs, those too that a later one stands in for.

    Raises:
        DataError: a line that is not the last is damaged.
    """
    for file in files:
        rows = file.read_bytes().split(b"\n")
        for number, row in enumerate(rows[:-1], 1):
            try:
                yield _read(row)
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{file} line {number} is damaged ({error}). Delete the line, then run the "
                    "same command again: its question is asked anew."
                ) from error


def _read(row: bytes) -> Line:
    fields = json.loads(row)
    return Line(**{**fields, "reply": Reply(**fields["reply"])})


class AnswerLog:
    """A log that is open for adding to; one process at a time.

    Args:
        file: made with its folders.

    Raises:
        MachineError: it cannot be written, or another process writes it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            make_folder(file.parent)
            # Unbuffered: nothing is left to write when the process is killed.
            self._stream = file.open("a+b", buffering=0)
            flush(file.parent)
        except OSError as error:
            raise machine_error(file, error) from error
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._stream.close()
            raise MachineError(
                f"{file} is written by another process. Wait for it, or share the work with "
                "--shard 1/2 in one and --shard 2/2 in the other."
            ) from None
        self._cut_torn_line()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def add(self, line: Line) -> None:
        """Add a line and wait until the disk has it.

        Raises:
            MachineError: the disk is full.
        """
        try:
            self._stream.write(text_of(line).encode() + b"\n")
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise machine_error(self._file, error) from error

    def _cut_torn_line(self) -> None:
        data = self._file.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            self._stream.truncate(whole)


def _prompt(question: Question) -> str:
    turns = []
    for message in question.conversation.messages:
        parts = [
            part.text if isinstance(part, Text) else f"<{KINDS.get(type(part), 'video')}>"
            for part in message.parts
        ]
        turns.append(f"{message.role.value}: {''.join(parts)}")
    return "\n".join(turns)
