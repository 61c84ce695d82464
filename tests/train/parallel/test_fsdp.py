"""A model in shares learns what a single process learns, and goes on where it stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.together import together
from tests.train.parallel.runs import (
    Case,
    largest_difference,
    loss_difference,
    three_steps,
    train_all,
    train_and_stop,
)
from tests.train.toy_run import train_toy, write_rows

from hocket._errors import ConfigError
from hocket.model.sequence import SequenceSpec
from hocket.train.parallel import FsdpSpec, Sharding

FSDP = Sharding.FSDP
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


def test_two_processes_in_shares_equal_one(folder: Path, tmp_path: Path) -> None:
    """Some steps lack a kind of media on one rank, some on both."""
    shared = Case("shared", replace(three_steps(accumulate=2), sharding=FSDP), layer=-2)
    train_all(folder, tmp_path, [Case("alone", three_steps(), layer=-2)])
    together(2, train_all, folder, tmp_path, [shared])
    assert largest_difference(tmp_path / "alone", tmp_path / "shared") <= TOLERANCE
    assert loss_difference(tmp_path / "alone", tmp_path / "shared") <= TOLERANCE


@pytest.mark.slow
def test_options_do_not_change_what_is_learned(folder: Path, tmp_path: Path) -> None:
    cases = [
        Case("connectors", three_steps(match="model.*_projector.*")),
        Case("all", three_steps()),
    ]
    train_all(folder, tmp_path, cases)
    parts = ["language", "vision", "audio"]
    connectors, everything = (case.recipe for case in cases)
    ways = {
        "connectors": replace(connectors, sharding=FSDP),
        "all": replace(everything, sharding=FSDP, gradient_checkpointing=parts),
        "all offloaded": replace(everything, sharding=FSDP, fsdp=FsdpSpec(cpu_offload=True)),
        "all kept": replace(everything, sharding=FSDP, fsdp=FsdpSpec(reshard=False)),
        "all in a ring": replace(everything, sharding=FSDP, sequence_parallel=SequenceSpec(ring=2)),
        "all over heads": replace(everything, sequence_parallel=SequenceSpec(ulysses=2)),
    }
    shared = tmp_path / "shared"
    together(2, train_all, folder, shared, [Case(name, way) for name, way in ways.items()])
    for name in ways:
        alone = tmp_path / name.split()[0]
        assert largest_difference(alone, shared / name) <= TOLERANCE, name
        assert loss_difference(alone, shared / name) <= TOLERANCE, name


@pytest.mark.slow
def test_a_stopped_run_goes_on_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    chosen = replace(three_steps(save_every=1), sharding=FSDP)
    together(2, train_and_stop, folder, tmp_path, chosen)
    assert largest_difference(tmp_path / "whole", tmp_path / "stopped") == 0


@pytest.mark.slow
def test_four_processes_in_two_rings(folder: Path, tmp_path: Path) -> None:
    train_all(folder, tmp_path, [Case("alone", three_steps())])
    ring = SequenceSpec(ring=2)
    cases = [
        Case("ddp", replace(three_steps(), sequence_parallel=ring)),
        Case("fsdp", replace(three_steps(), sequence_parallel=ring, sharding=FSDP)),
    ]
    together(4, train_all, folder, tmp_path, cases)
    for name in ("ddp", "fsdp"):
        assert largest_difference(tmp_path / "alone", tmp_path / name) <= TOLERANCE


def test_one_process_has_nothing_to_share(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sharding is fsdp, but the run has 1 process"):
        train_toy(folder, tmp_path, replace(three_steps(), sharding=FSDP))
    with pytest.raises(ConfigError, match="shares a row among 2 processes, but the run has one"):
        train_toy(folder, tmp_path, replace(three_steps(), sequence_parallel=SequenceSpec(ring=2)))


def test_names_are_checked(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'half' is no number format"):
        FsdpSpec(compute_dtype="half")
    with pytest.raises(ConfigError, match="'eyes' is no part of this model"):
        train_toy(folder, tmp_path, replace(three_steps(), gradient_checkpointing=["eyes"]))
