"""Walks on the disk: one line each, appended as soon as it is over, so that a stop costs one walk.

The first line says what was walked and how; a folder is gone on with only where that is the same.
A line that a killed run left half written is cut off. Shards write files of their own::

    OUT/walks-model-0of2.jsonl
    {"setup": {...}}
    {"episode": "rooms-val_unseen-0-3", "index": 3, "scores": {...}, "path": [...], ...}
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from hocket._errors import ConfigError, DataError, MachineError
from hocket.nav.loop import Ending, Outcome

Setup = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A walk as it is kept.

    Attributes:
        episode: its id.
        index: its place in the world's list.
        instruction: where to go.
        language: of the instruction.
        group: what it is counted under, such as its level; empty for none.
        scores: every measure.
        path: where the agent was, (x, y, z) in metres.
        reference: the way it was to take.
        goal: where it was to stop.
        answers: what it said.
        ending: why it ended.
        reached: the landmark that it stopped at; empty for none.
        landmarks: of the place, by name.
        outline: the place from above, lines (x, y, x, y).
    """

    episode: str
    index: int
    instruction: str
    language: str
    group: str
    scores: dict[str, float]
    path: list[list[float]]
    reference: list[list[float]]
    goal: list[float]
    answers: list[str]
    ending: Ending
    reached: str
    landmarks: dict[str, list[float]] = field(default_factory=dict)
    outline: list[list[float]] = field(default_factory=list)


def record_of(outcome: Outcome, index: int) -> Record:
    """Return what is kept of a walk."""
    episode = outcome.episode
    return Record(
        episode=episode.id,
        index=index,
        instruction=episode.instruction,
        language=episode.language,
        group=str(episode.info.get("group", "")),
        scores=dict(outcome.scores),
        path=_rounded(outcome.path),
        reference=_rounded(episode.reference),
        goal=_rounded(episode.goal),
        answers=list(outcome.answers),
        ending=outcome.ending,
        reached=outcome.reached,
        landmarks={name: _rounded(at) for name, at in outcome.landmarks.items()},
        outline=_rounded(outcome.outline.reshape(-1, 4)),
    )


class Log:
    """A file of walks that is appended to.

    Args:
        file: where; made if it is not there.
        setup: what is walked and how.

    Raises:
        ConfigError: the file is of another setup.
        DataError: a line cannot be read.
        MachineError: the file cannot be written.
    """

    def __init__(self, file: Path, setup: Setup) -> None:
        try:
            self.file = file
            file.parent.mkdir(parents=True, exist_ok=True)
            _cut(file)
            fresh = not file.exists() or not file.stat().st_size
            if not fresh:
                check_setup(file, setup)
            self._stream: TextIO = file.open("a", encoding="utf-8")
            if fresh:
                self._put({"setup": dict(setup)})
        except OSError as error:
            raise MachineError(
                f"{file} cannot be written: {error}. Free space or choose another --out."
            ) from error

    def add(self, record: Record) -> None:
        """Append a walk; it is on the disk when this returns."""
        self._put(_plain(record))

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _put(self, line: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())


def read_log(file: Path) -> list[Record]:
    """Return the walks of a log in the order of their world's list.

    A last line without an end is left out: somebody is writing it.

    Raises:
        DataError: a line cannot be read.
    """
    found = []
    for number, line in enumerate(file.read_bytes().split(b"\n")[1:-1], 2):
        try:
            found.append(_record(json.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"{file}, line {number}: not a walk ({error}). Remove the line; it is walked again."
            ) from error
    return sorted(found, key=lambda one: one.index)


def read_setup(file: Path) -> dict[str, Any]:
    """Return what a log says was walked.

    Raises:
        DataError: it does not say.
    """
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    try:
        setup: dict[str, Any] = json.loads(first)["setup"]
    except (ValueError, KeyError) as error:
        raise DataError(
            f"{file}, line 1: no 'setup', expected a log of hocket nav run. Choose another folder."
        ) from error
    return setup


def check_setup(file: Path, setup: Setup) -> None:
    """Refuse a log of another setup.

    Raises:
        ConfigError: it is of another.
        DataError: it does not say.
    """
    there = read_setup(file)
    wanted = json.loads(json.dumps(dict(setup)))
    other = sorted(key for key in there.keys() | wanted if there.get(key) != wanted.get(key))
    if other:
        key = other[0]
        raise ConfigError(
            f"{file}: walked with {key}={there.get(key)!r}, now it is {wanted.get(key)!r}. "
            f"Choose another --out, or the options of before."
        )


def _cut(file: Path) -> None:
    """Cut off a last line without an end: the walk that a killed run was writing."""
    if not file.exists():
        return
    data = file.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with file.open("r+b") as stream:
            stream.truncate(whole)


def _plain(record: Record) -> dict[str, Any]:
    line = asdict(record)
    # Infinity is no JSON.
    scores = {key: value if np.isfinite(value) else None for key, value in record.scores.items()}
    return {**line, "scores": scores, "ending": str(record.ending)}


def _record(line: dict[str, Any]) -> Record:
    scores = {
        key: float("inf") if value is None else float(value)
        for key, value in line["scores"].items()
    }
    return Record(**{**line, "scores": scores, "ending": Ending(line["ending"])})


def _rounded(points: np.ndarray | Iterable[float]) -> Any:
    return np.round(np.asarray(points, np.float64), 4).tolist()
