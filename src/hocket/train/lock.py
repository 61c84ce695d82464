"""One trainer in a run's folder: a lock file that says which process of which machine trains there.

A lock whose process is gone is taken over. Of another machine's process nothing can be known but
when it last touched the file, which it does every few seconds.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from hocket._errors import MachineError
from hocket._log import warn
from hocket.checkpoint.manifest import machine_error

NAME = "trainer.lock"
TOUCH_SECONDS = 10.0
SILENT_SECONDS = 600.0
_SETTLE_SECONDS = 0.05
_SAME_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that trains.

    Attributes:
        pid: its number.
        host: name of its machine.
        started: when it began, in seconds since 1970: numbers of processes are used again.
    """

    pid: int
    host: str
    started: float


class FolderLock:
    """Keeps other trainers out of a folder while the context is open.

    Args:
        folder: the run's folder; it is made.
        enabled: whether this process holds it; of several ranks only the first does.
    """

    def __init__(self, folder: Path, *, enabled: bool = True) -> None:
        self._file = folder / NAME
        self._enabled = enabled
        self._touched = 0.0
        process = psutil.Process()
        self._self = Holder(process.pid, socket.gethostname(), process.create_time())

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            MachineError: another process trains here, or the folder cannot be written.
        """
        if not self._enabled:
            return self
        own = self._file.with_name(f".{NAME}-{self._self.pid}-{self._self.host}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            own.write_text(json.dumps(asdict(self._self)), encoding="utf-8")
            try:
                self._take(own)
            finally:
                own.unlink(missing_ok=True)
        except OSError as error:
            raise machine_error(self._file.parent, error) from error
        self._touched = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._enabled and _read(self._file) == self._self:
            # In a folder that has been closed meanwhile it stays; nobody alive holds it.
            with suppress(OSError):
                self._file.unlink(missing_ok=True)

    def touch(self, *_: object) -> None:
        """Show other machines that this process is alive; a hook of the training.

        Raises:
            MachineError: another process has taken the folder, or it cannot be written any more.
        """
        if not self._enabled or time.monotonic() - self._touched < TOUCH_SECONDS:
            return
        self._touched = time.monotonic()
        holder = _read(self._file)
        if holder is not None and holder != self._self:
            raise self._held(holder)
        if holder is not None:
            try:
                os.utime(self._file)
            except OSError as error:
                raise machine_error(self._file, error) from error

    def _take(self, own: Path) -> None:
        try:
            # A link is made by one process only, and holds the whole text at once.
            os.link(own, self._file)
            return
        except FileExistsError:
            holder = _read(self._file)
        # Both times are those of the folder's own disk, which may be another machine's.
        silent = own.stat().st_mtime - self._file.stat().st_mtime
        if holder is not None and self._alive(holder, silent):
            raise self._held(holder)
        if holder is not None and holder != self._self:
            warn(f"{self._file}: process {holder.pid} on {holder.host} is gone; going on.")
        own.replace(self._file)
        # Two that find the same old lock both replace it; the later one has it.
        time.sleep(_SETTLE_SECONDS)
        holder = _read(self._file)
        if holder is not None and holder != self._self:
            raise self._held(holder)

    def _alive(self, holder: Holder, silent: float) -> bool:
        if holder.host != self._self.host:
            return silent < SILENT_SECONDS
        try:
            started = psutil.Process(holder.pid).create_time()
        except psutil.Error:
            return False
        return abs(started - holder.started) < _SAME_SECONDS

    def _held(self, holder: Holder) -> MachineError:
        return MachineError(
            f"{self._file.parent}: process {holder.pid} on {holder.host} trains there; one folder "
            f"takes one trainer. Stop it, or choose another folder with out=FOLDER.\nIf it is gone "
            f"for certain, delete {self._file}."
        )


def _read(file: Path) -> Holder | None:
    """Return who holds a lock; None where there is no whole one."""
    try:
        return Holder(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
