"""Heads learn over several processes what they learn in one, however these share the work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.together import together
from tests.train.parallel.runs import Case, largest_difference, loss_difference, train_all
from tests.train.toy_heads import heads_of, three_told, write_labelled

from hocket.model.sequence import SequenceSpec
from hocket.train.log import read_log
from hocket.train.parallel import Sharding
from hocket.train.recipe import Recipe

TOLERANCE = 1e-6


def check(folder: Path, out: Path, ways: dict[str, Recipe], *, world: int = 2) -> None:
    """Compare each way of sharing with a single process."""
    train_all(folder, out, [Case("alone", three_told())])
    together(world, train_all, folder, out, [Case(name, way) for name, way in ways.items()])
    theirs, log = heads_of(out / "alone"), read_log(out / "alone" / "log.jsonl")
    assert any("audio" not in line["accuracy"] for line in log), "data has changed"
    for name in ways:
        assert largest_difference(out / "alone", out / name) <= TOLERANCE, name
        assert loss_difference(out / "alone", out / name) <= TOLERANCE, name
        ours = heads_of(out / name)
        assert max(float((ours[key] - theirs[key]).abs().max()) for key in theirs) <= TOLERANCE
        for one, other in zip(read_log(out / name / "log.jsonl"), log, strict=True):
            assert one["accuracy"] == pytest.approx(other["accuracy"])
            assert one["parts"] == pytest.approx(other["parts"], rel=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_labelled(made)
    return made


def test_two_processes_equal_one(folder: Path, tmp_path: Path) -> None:
    check(folder, tmp_path, {"ddp": three_told(accumulate=2)})


@pytest.mark.slow
def test_shares_and_rings_equal_one(folder: Path, tmp_path: Path) -> None:
    plain, ring = three_told(), SequenceSpec(ring=2)
    check(
        folder,
        tmp_path,
        {
            "fsdp": replace(three_told(accumulate=2), sharding=Sharding.FSDP),
            "ring": replace(plain, sequence_parallel=ring),
            "heads": replace(plain, sequence_parallel=SequenceSpec(ulysses=2)),
            "fsdp in a ring": replace(plain, sharding=Sharding.FSDP, sequence_parallel=ring),
        },
    )
