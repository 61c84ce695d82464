"""The benchmark's peers train the same thing; how fast is no test's business."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks import train


@pytest.mark.slow
def test_hocket_and_the_trainer_learn_the_same_from_the_same_tokens(tmp_path: Path) -> None:
    found = train.check(tmp_path, steps=2, modes=["full"])["full"]
    assert found["tokens"][0] == found["tokens"][1] > 0
    assert found["supervised"][0] == found["supervised"][1] > 0
    assert all(math.isfinite(loss) for loss in found["losses"])
    assert found["loss"] <= 1e-4
    # The second loss would differ if a gradient or the optimizer did.
    assert found["losses"][1] < found["losses"][0]


def test_ratios_are_of_the_best_peer() -> None:
    line = {
        "supervised_per_s": 10.0,
        "supervised_per_cpu_s": 5.0,
        "tokens_per_s": 20.0,
        "padding": 0.4,
        "peak_mb": 300.0,
        "start_s": 9.0,
    }
    mine = line | {"supervised_per_s": 30.0, "supervised_per_cpu_s": 20.0, "peak_mb": 150.0}
    quick = line | {"supervised_per_s": 15.0, "peak_mb": 400.0}
    found = train.ratios({"full": {"hocket": mine, "slow": line, "quick": quick}})
    assert found["full"]["best_peer"] == "quick"
    assert found["full"]["wall"] == 2.0
    assert found["full"]["cpu"] == 4.0
    assert found["full"]["memory"] == 0.375
