"""The run's log: JSON lines of optimizer steps, without gaps or doubles after a resume."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Self

from hocket.checkpoint.manifest import TEMPORARY, flush, machine_error, make_folder
from hocket.train.loop import Report
from hocket.train.state import TrainState


class RunLog:
    """A hook that appends each step's report to a file; `write` appends anything else.

    Args:
        path: the log file; its folder is made.
        enabled: whether this process writes it.
    """

    def __init__(self, path: Path, *, enabled: bool) -> None:
        self._path = path
        self._enabled = enabled
        self._file: BinaryIO | None = None
        self._flush_name = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def cut_after(self, stages: Sequence[str], state: TrainState) -> None:
        """Drop lines of steps that a resumed run will do again, then open for appending.

        Raises:
            MachineError: the folder cannot be written.
        """
        if not self._enabled:
            return
        if self._file:
            self._file.close()
        kept = [
            line
            for line in read_log(self._path)
            if line["stage"] in stages
            and (stages.index(line["stage"]), line["step"])
            <= (stages.index(state.stage), state.step)
        ]
        try:
            make_folder(self._path.parent)
            text = "".join(json.dumps(line) + "\n" for line in kept)
            # Written aside and renamed: a kill in between must not lose the lines of before.
            aside = self._path.with_name(f"{TEMPORARY}{self._path.name}")
            with aside.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self._path)
            # Unbuffered: nothing is left to write, and to fail again, when the file is closed.
            self._file = self._path.open("ab", buffering=0)
            self._flush_name = True
        except OSError as error:
            raise machine_error(self._path, error) from error

    def flush(self) -> None:
        """Wait until the disk holds every line: a checkpoint must not know more than the log.

        Raises:
            MachineError: the disk is full or fails.
        """
        if not self._file:
            return
        try:
            os.fsync(self._file.fileno())
            if self._flush_name:
                flush(self._path.parent)
                self._flush_name = False
        except OSError as error:
            raise machine_error(self._path, error) from error

    def __call__(self, state: TrainState, report: Report) -> None:
        """Append a line.

        Raises:
            MachineError: the disk is full.
        """
        self.write(state, asdict(report))

    def write(self, state: TrainState, values: Mapping[str, Any]) -> None:
        """Append a line of a step.

        Args:
            state: the run behind the step.
            values: plain JSON data.

        Raises:
            MachineError: the disk is full.
        """
        if self._file:
            line = {"stage": state.stage, "step": state.step, **values}
            try:
                left = memoryview(json.dumps(line).encode() + b"\n")
                # A disk that is nearly full takes a part, and says so at the next attempt only.
                while left:
                    left = left[self._file.write(left) :]
            except OSError as error:
                raise machine_error(self._path, error) from error


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a log; a last line cut by a crash is left out."""
    if not path.exists():
        return []
    lines: list[dict[str, Any]] = []
    for text in path.read_bytes().splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            break
        if not isinstance(line, dict) or not {"stage", "step"} <= line.keys():
            break
        lines.append(line)
    return lines
