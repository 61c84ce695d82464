"""Old checkpoints go, the newest stays, and leftovers of a killed save are cleared away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hocket.checkpoint.manifest import write_directory
from hocket.train.retention import checkpoint_name, checkpoints_of, clear_leftovers, delete_old


def made(folder: Path, *names: str) -> list[Path]:
    """Make folders, each newer than the one before."""
    paths = []
    for number, name in enumerate(names):
        path = folder / name
        write_directory(path, lambda folder: (folder / "file").touch())
        os.utime(path, (1000 + number, 1000 + number))
        paths.append(path)
    return paths


def test_names_and_order(tmp_path: Path) -> None:
    assert checkpoint_name("joint", 42) == "joint-step-000042"
    # By age, not by name: stages run in the order of the recipe.
    old, new = made(tmp_path, "vision-step-000100", "joint-step-000002")
    made(tmp_path, "notes")
    (tmp_path / "joint-step-000009").touch()
    assert checkpoints_of(tmp_path) == [new, old]
    assert checkpoints_of(tmp_path / "missing") == []


def test_leftovers_of_a_killed_save_are_removed(tmp_path: Path) -> None:
    (kept,) = made(tmp_path, "joint-step-000001")
    made(tmp_path, ".tmp-joint-step-000002-77", ".tmp-old-joint-step-000001-77")
    assert checkpoints_of(tmp_path) == [kept]
    assert len(list(tmp_path.iterdir())) == 3, "to list them may not harm a trainer that saves now"
    clear_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [kept]


@pytest.mark.parametrize(("keep", "left"), [(0, 1), (1, 1), (2, 2), (3, 3), (9, 4)])
def test_the_newest_is_never_deleted(tmp_path: Path, keep: int, left: int) -> None:
    paths = made(tmp_path, *(checkpoint_name("joint", step) for step in (1, 2, 3, 4)))
    delete_old(tmp_path, keep=keep, newest=paths[-1])
    assert sorted(tmp_path.iterdir()) == paths[-left:]


def test_what_was_just_written_stays_though_another_looks_newer(tmp_path: Path) -> None:
    written, damaged = made(tmp_path, checkpoint_name("joint", 3), checkpoint_name("joint", 4))
    delete_old(tmp_path, keep=1, newest=written)
    assert list(tmp_path.iterdir()) == [written] and not damaged.exists()


def test_nothing_is_deleted_where_the_newest_cannot_be_read_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = made(tmp_path, checkpoint_name("joint", 1), checkpoint_name("joint", 2))
    (new / "file").write_bytes(b"other")
    delete_old(tmp_path, keep=1, newest=new)
    assert old.exists() and new.exists()
    (line,) = [one.getMessage() for one in caplog.records]
    assert line.startswith("no older checkpoint is deleted: ") and "joint-step-000002" in line
