"""What a job asks for, checked before anything is submitted."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hocket._errors import ConfigError

STOPPED = 124
"""Exit code of a run that saved and stopped because it was told to; the same command goes on."""
REFUSED = 2
"""Exit code of a run that cannot go on until the user has changed something."""
STALLED = 86
"""Exit code of a run that its watchdog ended, since no step finished in time."""

_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<rest>\d+(?::\d+){0,2})")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A command and the machines it wants.

    Attributes:
        command: the words to run.
        name: the job's name, as a folder name.
        mode: ``train``, ``eval`` or another word; part of the folder and of SLURM's job name.
        out: folder of the run's output; its ``slurm`` folder gets the logs.
        nodes: machines.
        gpus_per_node: GPUs, and so processes, on each; 0 runs one process on its CPUs.
        account: SLURM's account.
        partition: SLURM's partition.
        limit_seconds: time after which SLURM ends the job.
        warning_seconds: how long before that the run is told to save and stop.
        max_retries: how often a failed job starts again; -1 without end.
        singleton: wait until other jobs of the name have ended.
        email: who is told when it begins, ends or fails; empty for nobody.
        port: port of the first machine that the processes meet at.
    """

    command: tuple[str, ...]
    name: str
    mode: str
    out: Path
    nodes: int
    gpus_per_node: int
    account: str
    partition: str
    limit_seconds: int
    warning_seconds: int
    max_retries: int
    singleton: bool
    email: str
    port: int

    def __post_init__(self) -> None:
        """Check what SLURM would refuse later, or worse, accept."""
        if not self.command:
            raise ConfigError("no command was given. Add it behind --, such as -- hocket train.")
        for key, value in (("name", self.name), ("mode", self.mode)):
            if not _NAME.fullmatch(value):
                raise ConfigError(
                    f"the job's {key} is {value!r}, expected letters, digits, '.', '_' and '-'."
                )
        if self.nodes < 1 or self.gpus_per_node < 0:
            raise ConfigError(
                f"{self.nodes} nodes with {self.gpus_per_node} GPUs each cannot run anything."
            )
        if self.warning_seconds >= self.limit_seconds:
            raise ConfigError(
                f"the time limit is {write_time(self.limit_seconds)}, but the run is to be stopped "
                f"{write_time(self.warning_seconds)} before it. Raise --time or lower --timedelta."
            )
        words = (self.account, self.partition, self.email, *map(str, self.out.parts))
        for word in words:
            if re.search(r"[\n\r\"'$`\\ ]", word):
                raise ConfigError(
                    f"{word!r} cannot stand in a job file: it has spaces or quotes. Change it."
                )

    @property
    def processes_per_node(self) -> int:
        """Processes on each machine."""
        return max(self.gpus_per_node, 1)


def python_of(command: Sequence[str]) -> list[str]:
    """Let a command that starts with ``hocket`` or ``python`` use this very Python."""
    first, *rest = command
    if first == "hocket":
        return [sys.executable, "-m", "hocket", *rest]
    return [sys.executable, *rest] if first in ("python", "python3") else list(command)


def read_time(text: str) -> int:
    """Return the seconds of a time limit in any of SLURM's forms.

    ``minutes``, ``minutes:seconds``, ``hours:minutes:seconds``, ``days-hours``,
    ``days-hours:minutes``, ``days-hours:minutes:seconds``; hours may be 24 or more.

    Raises:
        ConfigError: it is none of these, or zero.
    """
    found = _TIME.fullmatch(text.strip())
    if not found:
        raise ConfigError(
            f"the time limit {text!r} cannot be read, expected such as 48:00:00 or 2-00:00:00."
        )
    parts = [int(part) for part in found["rest"].split(":")]
    if found["days"] is not None:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        total = ((int(found["days"]) * 24 + hours) * 60 + minutes) * 60 + seconds
    elif len(parts) == 1:
        total = parts[0] * 60
    else:
        hours, minutes, seconds = (0, *parts)[-3:]
        total = (hours * 60 + minutes) * 60 + seconds
    if not total:
        raise ConfigError("the time limit is zero. Give the job some time.")
    return total


def write_time(seconds: int) -> str:
    """Return ``days-hh:mm:ss``, or ``hh:mm:ss`` below a day."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    clock = f"{hours:02}:{minutes:02}:{rest:02}"
    return f"{days}-{clock}" if days else clock
