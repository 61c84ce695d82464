"""Both scripts of techniques run as a user runs them; how fast anything is no test's business."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]


def run(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a script of benchmarks/ on one thread."""
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / script), *words],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def result(done: subprocess.CompletedProcess[str], out: Path) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.mark.slow
def test_techniques_keep_loss_and_gradients(tmp_path: Path) -> None:
    out = tmp_path / "means.json"
    words = ["--size", "tiny", "--samples", "3", "--rounds", "1", "--out", str(out)]
    # Neither processes that decode nor the compiler: both take long to start.
    chosen = ["rows", "packed", "logits", "linear", "the same", "tower", "row", "backward", "cache"]
    for word in [*chosen, "channels", "bfloat16", "AdamW"]:
        words += ["--only", word]
    found = result(run("means.py", *words), out)
    lines = {one["name"]: one for one in found["techniques"] if "difference" in one}
    assert len(lines) >= 17
    for name, line in lines.items():
        assert line["difference"] <= (0.05 if "bfloat16" in name else 1e-5), name
        assert line["cpu_s"]["on"] >= 0 and line["verdict"]
    assert lines["the same in float64"]["difference"] <= 1e-14


@pytest.mark.slow
def test_the_script_for_gpus_does_what_it_says(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    parts = "work;mask;documents;trainer;generation;resume"
    words = ["--size", "tiny", "--device", "cpu", "--parts", parts, "--out", str(out)]
    found = result(run("gpu.py", *words), out)
    made = found["parts"]
    assert found["device"] == "cpu" and list(made) == parts.split(";")
    assert made["work"]["flops"] > 0 and made["work"]["filled"] <= 1
    # The same weights and samples: attention, packing and padding change no loss.
    for name in ("mask", "documents", "trainer"):
        assert made[name]["losses"] == pytest.approx(made["mask"]["losses"], abs=1e-4)
        assert found["summary"][name]["utilisation"] > 0
    assert made["resume"]["went_on_at"] == 3 and made["resume"]["loss_difference"] == 0
    assert {"engine", "generate"} == set(made["generation"]["2"])


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_nothing_is_measured() -> None:
    before = set((ROOT / "benchmarks" / "results").iterdir())
    done = run("gpu.py")
    assert done.returncode == 0 and "No GPU is here" in done.stdout
    assert set((ROOT / "benchmarks" / "results").iterdir()) == before
