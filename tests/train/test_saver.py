"""The one writer: training waits for the copy only, errors come up, leaving waits for the disk."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from hocket._errors import MachineError
from hocket.train.retention import checkpoint_name
from hocket.train.saver import HostCopy, Saver, state_of


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
    weight = torch.ones(3)
    host = HostCopy()
    copies = host.take({"a": weight, "tied": weight})
    weight += 1
    assert copies["a"].tolist() == [1, 1, 1] and copies["tied"] is copies["a"]
    again = host.take({"a": weight})
    assert again["a"].data_ptr() == copies["a"].data_ptr(), "the memory is used again"
    assert again["a"].tolist() == [2, 2, 2]


def test_the_next_step_waits_for_the_copy_and_for_nothing_else(tmp_path: Path) -> None:
    gate, written = threading.Event(), threading.Event()
    with Saver(keep=1, before=nothing) as saver:
        saver.wait_for_copy()  # nothing is under way

        def fill(folder: Path) -> None:
            time.sleep(0.05)
            copied.append(1)
            saver.copied()
            assert gate.wait(10)
            write(folder)
            written.set()

        copied: list[int] = []
        saver.start(tmp_path / checkpoint_name("a", 1), fill)
        saver.wait_for_copy()
        assert copied and not written.is_set()
        gate.set()
    assert written.is_set()


def test_a_save_that_fails_before_its_copy_does_not_hold_the_step_up(tmp_path: Path) -> None:
    with pytest.raises(MachineError), Saver(keep=1, before=nothing) as saver:
        saver.start(tmp_path / checkpoint_name("a", 1), full)
        saver.wait_for_copy()


def test_a_forward_pass_may_change_buffers(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    model[0].bias.requires_grad_(False)
    trained, steady = state_of(model)
    assert set(trained) == {"0.weight", "1.weight", "1.bias"}
    assert trained["0.weight"].data_ptr() == model[0].weight.data_ptr()
    assert steady["0.bias"].data_ptr() == model[0].bias.data_ptr()
    before = steady["1.running_mean"].clone()
    model(torch.ones(4, 3))
    assert torch.equal(steady["1.running_mean"], before)
