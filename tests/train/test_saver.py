"""The one writer: training waits for the copy only, errors come up, leaving waits for the disk."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import torch

from hocket._errors import MachineError
from hocket.train.retention import checkpoint_name
from hocket.train.saver import HostCopy, Saver


def nothing() -> None:
    """Stand for what must be on the disk first."""


def write(folder: Path) -> None:
    (folder / "file").write_text("text")


def test_training_goes_on_while_it_writes(tmp_path: Path) -> None:
    gate = threading.Event()
    saved: list[Path] = []
    target = tmp_path / checkpoint_name("joint", 1)

    def slow(folder: Path) -> None:
        assert gate.wait(10)
        write(folder)

    with Saver(keep=2, before=nothing, on_saved=saved.append) as saver:
        began = time.monotonic()
        saver.start(target, slow)
        saver.check()
        assert time.monotonic() - began < 1.0
        assert not target.exists() and not saved
        gate.set()
    assert (target / "manifest.json").exists() and saved == [target]


def test_a_second_save_waits_for_the_first(tmp_path: Path) -> None:
    order: list[str] = []

    def named(name: str, seconds: float) -> None:
        time.sleep(seconds)
        order.append(name)

    with Saver(keep=1, before=nothing) as saver:
        saver.start(tmp_path / checkpoint_name("a", 1), lambda folder: named("first", 0.1))
        saver.start(tmp_path / checkpoint_name("a", 2), lambda folder: named("second", 0.0))
    assert order == ["first", "second"]
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint_name("a", 2)]


def full(folder: Path) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("how", ["check", "start", "leave"])
def test_a_full_disk_comes_up_and_the_last_good_one_stays(tmp_path: Path, how: str) -> None:
    good = tmp_path / checkpoint_name("a", 1)
    with (
        pytest.raises(MachineError, match="no space is left on the disk"),
        Saver(keep=1, before=nothing) as saver,
    ):
        saver.start(good, write)
        saver.start(tmp_path / checkpoint_name("a", 2), full)
        deadline = time.monotonic() + 10
        while how == "check" and time.monotonic() < deadline:
            saver.check()
        if how == "start":
            saver.start(tmp_path / checkpoint_name("a", 3), write)
    assert [path.name for path in tmp_path.iterdir()] == [good.name]


def test_what_ended_the_run_is_what_is_raised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        pytest.raises(KeyError, match="first"),
        Saver(keep=1, before=nothing) as saver,
    ):
        saver.start(tmp_path / checkpoint_name("a", 1), full)
        raise KeyError("first")
    assert "no space is left" in caplog.text


def test_a_copy_holds_while_training_goes_on() -> None:
    weight, frozen = torch.ones(3), torch.ones(2)
    host = HostCopy()
    copies = host.take({"a": weight, "tied": weight, "b": frozen}, fixed={"b"})
    weight += 1
    assert copies["a"].tolist() == [1, 1, 1] and copies["tied"] is copies["a"]
    assert copies["b"].data_ptr() == frozen.data_ptr()
    again = host.take({"a": weight})
    assert again["a"].data_ptr() == copies["a"].data_ptr(), "the memory is used again"
    assert again["a"].tolist() == [2, 2, 2]
