"""One trainer in a folder: a second one is refused by name, a dead one's lock is taken over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hocket._errors import MachineError
from hocket.train.lock import NAME, SILENT_SECONDS, FolderLock


def held_by(folder: Path, *, pid: int, host: str, started: float, silent: float = 0.0) -> Path:
    """Write another process's lock."""
    file = folder / NAME
    file.write_text(json.dumps({"pid": pid, "host": host, "started": started}))
    now = file.stat().st_mtime
    os.utime(file, (now - silent, now - silent))
    return file


def test_it_is_there_while_training_and_gone_after(tmp_path: Path) -> None:
    with FolderLock(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / NAME).read_text())["pid"] == os.getpid()
        assert [path.name for path in (tmp_path / "run").iterdir()] == [NAME]
    assert not any((tmp_path / "run").iterdir())


def test_a_second_trainer_is_refused(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        started = psutil.Process(child.pid).create_time()
        with FolderLock(tmp_path) as own:
            host = json.loads((tmp_path / NAME).read_text())["host"]
        file = held_by(tmp_path, pid=child.pid, host=host, started=started)
        with (
            pytest.raises(MachineError, match=f"process {child.pid} on {host} trains there") as no,
            own,
        ):
            pass
        assert str(file) in str(no.value) and len(str(no.value).splitlines()) <= 3
        assert file.exists()
    finally:
        child.communicate(b"\n")
    with FolderLock(tmp_path):
        assert json.loads(file.read_text())["pid"] == os.getpid()


def test_a_number_that_is_used_again_is_another_process(tmp_path: Path) -> None:
    with FolderLock(tmp_path) as own:
        host = json.loads((tmp_path / NAME).read_text())["host"]
    file = held_by(tmp_path, pid=os.getpid(), host=host, started=1.0)
    with own:
        assert json.loads(file.read_text())["started"] > 1.0


def test_another_machine_is_believed_as_long_as_it_is_heard(tmp_path: Path) -> None:
    held_by(tmp_path, pid=1, host="elsewhere", started=1.0, silent=SILENT_SECONDS / 2)
    with pytest.raises(MachineError, match="process 1 on elsewhere"), FolderLock(tmp_path):
        pass
    held_by(tmp_path, pid=1, host="elsewhere", started=1.0, silent=SILENT_SECONDS * 2)
    with FolderLock(tmp_path):
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_a_damaged_lock_is_taken_over(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    with FolderLock(tmp_path):
        pass
    assert not (tmp_path / NAME).exists()


def test_a_trainer_whose_lock_was_taken_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hocket.train.lock.TOUCH_SECONDS", 0.0)
    with FolderLock(tmp_path) as lock:
        lock.touch()
        held_by(tmp_path, pid=7, host="elsewhere", started=1.0)
        with pytest.raises(MachineError, match="process 7 on elsewhere"):
            lock.touch()
    assert (tmp_path / NAME).exists(), "it is another's"


def test_a_folder_that_closes_hides_no_other_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hocket.train.lock.TOUCH_SECONDS", 0.0)
    with pytest.raises(KeyError, match="first"), FolderLock(tmp_path) as lock:
        monkeypatch.setattr(os, "utime", refuse)
        with pytest.raises(MachineError, match="no permission to write there"):
            lock.touch()
        monkeypatch.setattr(Path, "unlink", refuse)
        raise KeyError("first")
