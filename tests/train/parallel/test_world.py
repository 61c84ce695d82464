"""A run of two processes goes on as one or as four: same samples, same order, same losses."""

from __future__ import annotations

import shutil
from functools import partial
from itertools import chain
from pathlib import Path

import pytest
from tests.together import together
from tests.train.parallel.runs import three_steps, train_listening
from tests.train.toy_run import write_rows

from hocket.train.log import read_log

TOLERANCE = 1e-6


@pytest.mark.slow
def test_another_number_of_processes_goes_on(tmp_path: Path) -> None:
    folder, chosen = tmp_path / "data", three_steps(save_every=1)
    write_rows(folder)
    whole = train_listening(folder, tmp_path / "alone", chosen)
    # The hook comes before the second step is saved, so that step is done again.
    together(2, partial(train_listening, stop=2), folder, tmp_path / "two", chosen)
    for ranks in (1, 4):
        out = shutil.copytree(tmp_path / "two", tmp_path / str(ranks))
        # A lock names a process that is gone.
        seen = (
            [train_listening(folder, out, chosen)]
            if ranks == 1
            else together(ranks, train_listening, folder, out, chosen)
        )
        steps = [sorted(chain.from_iterable(step)) for step in zip(*seen, strict=True)]
        assert steps == [sorted(step) for step in whole[1:]]
        alone, changed = (read_log(one / "log.jsonl") for one in (tmp_path / "alone", out))
        assert len(alone) == len(changed) == 3
        for one, other in zip(alone, changed, strict=True):
            for key in ("tokens", "targets", "fill"):
                assert one[key] == other[key]
            assert abs(one["loss"] - other["loss"]) <= TOLERANCE
