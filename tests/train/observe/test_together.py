"""Several processes measure what one does, however they share the model and the rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.together import together
from tests.train.parallel.runs import Case, three_steps, train_all
from tests.train.toy_run import write_rows

from hocket.model.sequence import SequenceSpec
from hocket.train.log import read_log
from hocket.train.parallel import Sharding


def test_norms_do_not_depend_on_who_shares_what(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write_rows(folder)
    plain = replace(three_steps(), log_every=1, monitor_step=2)
    ways = {
        "ddp": plain,
        "fsdp": replace(plain, sharding=Sharding.FSDP),
        "heads": replace(plain, sequence_parallel=SequenceSpec(ulysses=2)),
    }
    train_all(folder, tmp_path, [Case("alone", plain)])
    together(2, train_all, folder, tmp_path, [Case(name, one) for name, one in ways.items()])
    expected = read_log(tmp_path / "alone" / "log.jsonl")
    records = read_log(tmp_path / "alone" / "monitor.jsonl")
    assert len(expected) == 3 and len(records) == 1
    for name in ways:
        for line, mine in zip(expected, read_log(tmp_path / name / "log.jsonl"), strict=True):
            for key, norm in line["norms"].items():
                # In shares a rank without pictures or sounds has a blank one, which counts.
                blank = name == "fsdp" and key.startswith("embedding/")
                near = pytest.approx(norm, rel=0.5 if blank else 1e-4, abs=1e-7)
                assert mine["norms"][key] == near, (name, key)
        (record,) = read_log(tmp_path / name / "monitor.jsonl")
        for key, norms in records[0]["parameters"].items():
            assert record["parameters"][key] == pytest.approx(norms, rel=1e-3, abs=1e-6), key
        assert "<svg" in (tmp_path / name / "dashboard.html").read_text("utf-8")
