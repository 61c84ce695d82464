"""A played cut of the power takes what was not flushed, and nothing else."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from tests.chaos.power import cut_power, watch_flushes


def flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def test_a_cut_takes_what_was_not_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", os.fsync)
    outcomes = set()
    for seed in range(30):
        home = tmp_path / str(seed)
        root, kept = home / "root", home / "kept"
        root.mkdir(parents=True)
        watch_flushes(root, kept)
        safe = root / "safe"
        safe.write_bytes(b"flushed")
        flush(safe)
        flush(root)
        with safe.open("ab") as file:
            file.write(b" and not")
        (root / "unnamed").write_bytes(b"never flushed")
        cut_power(root, kept, random.Random(seed))
        assert safe.read_bytes().startswith(b"flushed")
        names = {path.name for path in root.iterdir()}
        outcomes.add((safe.read_bytes() == b"flushed and not", "unnamed" in names))
        monkeypatch.undo()
        monkeypatch.setattr(os, "fsync", os.fsync)
        shutil.rmtree(home)
    assert {whole for whole, _ in outcomes} >= {False}
    assert {named for _, named in outcomes} == {False, True}


def test_a_cut_behind_a_rename_leaves_one_of_the_two_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = set()
    for seed in range(30):
        monkeypatch.setattr(os, "fsync", os.fsync)
        root, kept = tmp_path / str(seed) / "root", tmp_path / str(seed) / "kept"
        root.mkdir(parents=True)
        watch_flushes(root, kept)
        file, aside = root / "log", root / "aside"
        file.write_bytes(b"before")
        flush(file)
        flush(root)
        aside.write_bytes(b"after")
        flush(aside)
        aside.replace(file)
        cut_power(root, kept, random.Random(seed))
        found.add(file.read_bytes())
        monkeypatch.undo()
    assert found == {b"before", b"after"}
