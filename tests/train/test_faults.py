"""Damaged files of each kind, a folder that cannot be written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.train.test_resume import StopAt, StoppedError
from tests.train.toy_run import build_model, recipe, train_toy, write_rows

from hocket._errors import CheckpointError, MachineError
from hocket.checkpoint.manifest import MANIFEST, verify_directory
from hocket.train.lock import FolderLock
from hocket.train.recipe import Recipe
from hocket.train.resume import resume


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 4
    file.write_bytes(data)


def _half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGE: dict[str, Callable[[Path], None]] = {
    "flipped": _flip,
    "half": _half,
    "empty": lambda file: file.write_bytes(b"") and None,
    "gone": Path.unlink,
    "folder": _folder,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


@pytest.fixture(scope="module")
def stopped(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with the checkpoints joint 1 and 2."""
    out = tmp_path_factory.mktemp("stopped")
    with pytest.raises(StoppedError):
        train_toy(folder, out, one_stage(), hooks=[StopAt("joint", 3)])
    return out


def one_stage(*, save_every: int = 1, steps: int = 5) -> Recipe:
    plain = recipe(save_every=save_every, steps=(1, steps))
    return replace(plain, stages={"joint": plain.stages["joint"]})


def test_every_file_damaged_in_every_way_is_found(stopped: Path, tmp_path: Path) -> None:
    whole = stopped / "checkpoints" / "joint-step-000002"
    names = [file.relative_to(whole) for file in whole.rglob("*") if file.is_file()]
    assert {"model.safetensors", "state.json", "optimizer.safetensors", "manifest.json"} <= {
        name.name for name in names
    }
    for name in sorted(names):
        # A manifest with another hash blames the file that the hash is for.
        named = "copy" if name.name == MANIFEST else name.name
        for damage in DAMAGE.values():
            copy = shutil.copytree(whole, tmp_path / "copy")
            damage(copy / name)
            with pytest.raises(CheckpointError, match=named):
                verify_directory(copy)
            shutil.rmtree(copy)


@pytest.mark.parametrize("kind", sorted(DAMAGE))
def test_the_one_before_is_taken(
    folder: Path, stopped: Path, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    model, processor = build_model(folder)
    copy = shutil.copytree(stopped / "checkpoints", tmp_path / "checkpoints")
    newest = copy / "joint-step-000002"
    name = {"flipped": "model.safetensors", "half": "tokenizer.json"}.get(kind, "config.json")
    DAMAGE[kind](newest / name)
    state, at = resume(copy, ["joint"], model, processor)
    assert at == copy / "joint-step-000001" and state.step == 1
    (line,) = [one.getMessage() for one in caplog.records if "skipped" in one.getMessage()]
    assert name in line and newest.name in line


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(Path, "write_text", refuse)
    with (
        pytest.raises(MachineError, match=r"the disk is read-only\. Choose another folder"),
        FolderLock(tmp_path),
    ):
        pass


def test_a_disk_that_fills_up_keeps_the_last_good_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync
    flushed: list[str] = []

    def fill_up(handle: int) -> None:
        name = Path(f"/proc/self/fd/{handle}").readlink()
        flushed.append(name.name)
        if "joint-step-000003" in str(name):
            raise OSError(28, os.strerror(28))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fill_up)
    with pytest.raises(MachineError, match="no space is left on the disk"):
        train_toy(folder, tmp_path, replace(one_stage(), keep=1))
    assert "log.jsonl" in flushed
    (left,) = (tmp_path / "checkpoints").iterdir()
    assert left.name == "joint-step-000002"
    verify_directory(left)
    monkeypatch.undo()
    train_toy(folder, tmp_path, one_stage())
