"""Runs that are stopped again and again until they are done, and what they end with."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from safetensors.torch import load_file
from tests.chaos.disk import close_folder, fill_disk, open_folder
from tests.chaos.power import cut_power
from tests.chaos.trainer import Case, start

from hocket._errors import CheckpointError
from hocket.checkpoint.manifest import verify_directory
from hocket.train.log import read_log
from hocket.train.retention import checkpoints_of
from hocket.train.state import read_state

SECONDS = 300
POLL_SECONDS = 0.003
SAVING = ".tmp-"


class Fault(StrEnum):
    """How a run is stopped."""

    KILL = "kill -9"
    TERM = "SIGTERM"
    USR1 = "SIGUSR1"
    POWER = "power cut"
    SHORT = "newest checkpoint: a file cut short"
    FLIP = "newest checkpoint: a bit flipped"
    FULL = "full disk"
    CLOSED = "folder turned read-only"
    SECOND = "second trainer, then SIGTERM"


@dataclass(slots=True)
class Tally:
    """What one fault did in one case.

    Attributes:
        stops: runs stopped.
        inside_save: of them, while a checkpoint was being written.
        lost: steps that had to be done again, of each stop.
        torn: files and folders that were taken or changed behind the run's back.
    """

    stops: int = 0
    inside_save: int = 0
    lost: list[int] = field(default_factory=list)
    torn: int = 0


@dataclass(frozen=True, slots=True)
class Ending:
    """What a finished run left.

    Attributes:
        weights: sha256 of every tensor's name and bytes.
        losses: (stage, step, loss) of every line of the log.
    """

    weights: str
    losses: tuple[tuple[str, int, float], ...]


SIGNALS = {
    Fault.TERM: signal.SIGTERM,
    Fault.USR1: signal.SIGUSR1,
    Fault.SECOND: signal.SIGTERM,
}


class ChaosError(AssertionError):
    """A run did not go on, or ended otherwise than one that was left alone."""


def ending(out: Path) -> Ending:
    """Read what a finished run left."""
    digest = hashlib.sha256()
    for name, value in sorted(load_file(out / "model" / "model.safetensors").items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    lines = read_log(out / "log.jsonl")
    return Ending(
        digest.hexdigest(), tuple((one["stage"], one["step"], one["loss"]) for one in lines)
    )


def differences(found: Ending, wanted: Ending) -> str:
    """Return what tells two endings apart in a few words; empty where nothing does."""
    told = [] if found.weights == wanted.weights else ["other weights"]
    if found.losses != wanted.losses:
        odd = sorted(set(found.losses) ^ set(wanted.losses))[:3]
        told.append(f"{len(found.losses)} log lines for {len(wanted.losses)}, first {odd}")
    return f"DIFFERENT: {', '.join(told)}" if told else ""


def leave_alone(case: Case, folder: Path, home: Path) -> Ending:
    """Train without a fault."""
    (home / "flushed").mkdir(parents=True)
    process = start(folder, home / "out", case.recipe, home / "flushed")
    _join(process, home)
    return ending(home / "out")


def run_chain(
    case: Case, folder: Path, home: Path, faults: Iterator[Fault], rng: random.Random
) -> dict[Fault, Tally]:
    """Stop a run again and again until it is done, or no fault is left; then let it end.

    Args:
        case: how to train.
        folder: the data.
        home: a folder for this chain.
        faults: one for each stop.
        rng: picks the moments.

    Raises:
        ChaosError: it does not go on, or a saved checkpoint is gone.
    """
    out, kept = home / "out", home / "flushed"
    out.mkdir(parents=True)
    tallies = {fault: Tally() for fault in Fault}
    for fault in faults:
        process = start(folder, out, case.recipe, kept)
        inside = _wait_for_a_moment(process, out, rng)
        if not process.is_alive():
            _join(process, home)
            return tallies
        tally = tallies[fault]
        if fault is Fault.SECOND:
            refuse_second(case, folder, home)
        done = _stop(process, out, fault)
        if (out / "model").exists():
            return tallies
        tally.stops += 1
        tally.inside_save += inside
        if fault is Fault.POWER:
            tally.torn += cut_power(out, kept, rng)
        elif fault in (Fault.SHORT, Fault.FLIP):
            tally.torn += damage_newest(home, rng, flip=fault is Fault.FLIP)
        tally.lost.append(max(0, done - _steps(case, _newest(out))))
        _still_there(case, home)
    _join(start(folder, out, case.recipe, kept), home)
    return tallies


def _wait_for_a_moment(process: ForkServerProcess, out: Path, rng: random.Random) -> bool:
    """Wait until a random moment; return whether a checkpoint was then being written."""
    began = time.monotonic()
    if rng.random() < 0.1:
        time.sleep(rng.uniform(0, 1))
        return False
    log = out / "log.jsonl"
    before, wanted = _lines(log), rng.randint(1, 3)
    in_save = rng.random() < 0.5
    while process.is_alive() and time.monotonic() - began < SECONDS:
        saving = in_save and _lines(log) >= before + wanted - 1 and _saving(out)
        if saving or (not in_save and _lines(log) >= before + wanted):
            time.sleep(rng.uniform(0, 0.02 if in_save else 0.3))
            break
        time.sleep(POLL_SECONDS)
    return _saving(out)


def _stop(process: ForkServerProcess, out: Path, fault: Fault) -> int:
    """Stop a trainer; return the steps that it had done."""
    assert process.pid is not None
    number = SIGNALS.get(fault, signal.SIGKILL)
    # It may have ended by itself while a second one was refused.
    with contextlib.suppress(ProcessLookupError):
        if fault is Fault.FULL:
            fill_disk(process.pid)
        elif fault is Fault.CLOSED:
            close_folder(out)
        else:
            os.kill(process.pid, number)
    process.join(SECONDS)
    if fault is Fault.CLOSED:
        open_folder(out)
    # 124: it saved and asks to be started again; 3: it cannot write. A signal before it listens
    # ends it, whatever comes late finds it done.
    wanted = {3, 0} if fault in (Fault.FULL, Fault.CLOSED) else {-number, 124, 0}
    if process.exitcode not in wanted:
        process.kill()
        raise ChaosError(
            f"{fault} ended a trainer with code {process.exitcode}\n{_said(out.parent)}"
        )
    return _lines(out / "log.jsonl")


def damage_newest(home: Path, rng: random.Random, *, flip: bool) -> int:
    """Cut a file of the newest checkpoint short, or flip a bit of it; return how many there were.

    Raises:
        ChaosError: the checkpoint still counts.
    """
    newest = _newest(home / "out")
    if newest is None:
        return 0
    file = rng.choice(
        sorted(one for one in newest.rglob("*") if one.is_file() and one.stat().st_size)
    )
    data = bytearray(file.read_bytes())
    if flip:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    else:
        del data[rng.randrange(len(data)) :]
    file.write_bytes(data)
    if _newest(home / "out") == newest:
        raise ChaosError(f"{file} was damaged, and nobody noticed")
    (home / "saved.txt").unlink(missing_ok=True)
    return 1


def refuse_second(case: Case, folder: Path, home: Path) -> None:
    """Start another trainer in the folder of one that trains.

    Raises:
        ChaosError: it was let in.
    """
    aside = home / "second"
    (aside / "flushed").mkdir(parents=True, exist_ok=True)
    second = start(folder, home / "out", case.recipe, aside / "flushed")
    second.join(SECONDS)
    told = (aside / "output.txt").read_text("utf-8", "replace")
    # The first one may have ended before the second came.
    if second.exitcode != 3 and not (home / "out" / "model").exists():
        second.kill()
        raise ChaosError(f"a second trainer ended with code {second.exitcode}: {told[-300:]}")


def _saving(out: Path) -> bool:
    folder = out / "checkpoints"
    try:
        return any(path.name.startswith(SAVING) for path in folder.iterdir())
    except FileNotFoundError:
        return False


def _newest(out: Path) -> Path | None:
    for folder in checkpoints_of(out / "checkpoints"):
        try:
            verify_directory(folder)
        except CheckpointError:
            continue
        return folder
    return None


def _steps(case: Case, folder: Path | None) -> int:
    """Return how many steps of the whole run a checkpoint knows."""
    if folder is None:
        return 0
    state = read_state(folder)
    names = list(case.recipe.stages)
    before = names[: names.index(state.stage)]
    return state.step + sum(case.recipe.stages[name].steps for name in before)


def _still_there(case: Case, home: Path) -> None:
    """Check that what was said to be saved is, or something newer."""
    told = home / "saved.txt"
    if not told.exists():
        return
    stage, _, step = told.read_text().splitlines()[-1].rpartition("-step-")
    names = list(case.recipe.stages)
    before = sum(case.recipe.stages[name].steps for name in names[: names.index(stage)])
    found = _steps(case, _newest(home / "out"))
    if found < before + int(step):
        raise ChaosError(f"{home}: {stage} {step} was saved, but the newest is at {found} steps")


def _join(process: ForkServerProcess, home: Path) -> None:
    process.join(SECONDS)
    if process.exitcode != 0:
        process.kill()
        raise ChaosError(f"a trainer did not go on: {process.exitcode}\n{_said(home)}")


def _said(home: Path) -> str:
    """Return the last lines that a chain's trainers wrote."""
    lines = (home / "output.txt").read_text("utf-8", "replace").splitlines()
    return "\n".join(lines[-12:])


def _lines(log: Path) -> int:
    # Looked at again and again while a trainer wants the processor.
    return log.read_bytes().count(b"\n") if log.exists() else 0
