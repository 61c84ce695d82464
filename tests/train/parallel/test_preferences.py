"""Processes that share a stage of preferences learn what a single one learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.together import together
from tests.train.parallel.runs import (
    Case,
    largest_difference,
    loss_difference,
    train_all,
    weights,
)
from tests.train.toy_pairs import one_stage, pairs_of, write_pairs

from hocket.model.sequence import SequenceSpec
from hocket.train.log import read_log
from hocket.train.parallel import Sharding
from hocket.train.recipe import PreferenceKind, PreferenceSpec, Recipe

TOLERANCE = 1e-6
IPO = PreferenceSpec(kind=PreferenceKind.IPO, beta=0.3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_pairs(made)
    return made


def plain(name: str) -> Recipe:
    """Return three steps of one process: DPO or IPO, of an adapter or of everything."""
    spec = IPO if "ipo" in name else PreferenceSpec()
    return one_stage(spec, steps=3, adapter="lora" if "lora" in name else "", save_every=0)


def compare(folder: Path, out: Path, ways: dict[str, Recipe], world: int) -> None:
    """Train every way; what a name begins with says what it must be equal to."""
    data = pairs_of(folder)
    names = {name.split(",")[0] for name in ways}
    train_all(folder, out, [Case(name, plain(name), data=data) for name in sorted(names)])
    shared = out / "shared"
    cases = [Case(name, way, data=data) for name, way in ways.items()]
    together(world, train_all, folder, shared, cases)
    for name in ways:
        alone = out / name.split(",")[0]
        # Both losses are float32 sums.
        assert loss_difference(alone, shared / name) <= TOLERANCE, name
        assert largest_difference(alone, shared / name) <= TOLERANCE, name
        for one, other in zip(
            read_log(alone / "log.jsonl"), read_log(shared / name / "log.jsonl"), strict=True
        ):
            assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=TOLERANCE), name
            assert one["rewards"] == pytest.approx(other["rewards"], rel=1e-5, abs=1e-6), name


def test_two_processes_prefer_what_one_does(folder: Path, tmp_path: Path) -> None:
    """The reference is the model without its adapter, or a copy; whole or in shares."""
    fsdp = Sharding.FSDP
    compare(
        folder,
        tmp_path,
        {
            "dpo lora, ddp": plain("dpo lora"),
            "dpo all, fsdp": replace(plain("dpo all"), sharding=fsdp),
        },
        2,
    )
    first, *_, last = read_log(tmp_path / "dpo all" / "log.jsonl")
    assert first["loss"] != last["loss"]
    assert weights(tmp_path / "dpo all").keys()


@pytest.mark.slow
def test_every_way_of_sharing(folder: Path, tmp_path: Path) -> None:
    fsdp, ring = Sharding.FSDP, SequenceSpec(ring=2)
    halves = one_stage(IPO, steps=3, save_every=0, accumulate=2)
    compare(
        folder,
        tmp_path,
        {
            "dpo all, ddp": plain("dpo all"),
            "dpo lora, fsdp": replace(plain("dpo lora"), sharding=fsdp),
            "ipo all, ddp in two": halves,
            "ipo all, fsdp in two": replace(halves, sharding=fsdp),
            "ipo lora, fsdp": replace(plain("ipo lora"), sharding=fsdp),
            "dpo all, ring": replace(plain("dpo all"), sequence_parallel=ring),
            "dpo all, fsdp ring": replace(plain("dpo all"), sequence_parallel=ring, sharding=fsdp),
            "dpo lora, ulysses": replace(
                plain("dpo lora"), sequence_parallel=SequenceSpec(ulysses=2)
            ),
        },
        2,
    )
