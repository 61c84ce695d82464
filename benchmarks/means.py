"""What each technique of training is worth: the same step with it and without it, in turn.

    python benchmarks/means.py [--size bench|small|tiny] [--samples N] [--rounds N] [--only WORD]

One process, the model and the samples of the comparison with peers (`benchmarks/peers/assets.py`).
Each technique is compared with the step as it would be without it, A B A B, after one step of each
that warms up and whose losses and gradients are compared. Prints the ratio in processor seconds
and by the clock, the largest difference of a loss or gradient, and what hocket does. Balanced
batches and whole runs with the feature cache have scripts of their own, `packing.py` and
`feature_cache.py`, whose results are shown beside. Writes benchmarks/results/means.json after each
technique; about 15 processor minutes with the defaults, 3 with `--size small`.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from peers.assets import SIZES
from peers.probe import cpu_seconds
from techniques import around, step
from techniques.bench import Bench, Found, Technique, Way

RESULTS = Path(__file__).parent / "results"
TECHNIQUES = (*step.TECHNIQUES, *around.TECHNIQUES)
EXACT = 1e-5
# By how much a run must differ before it says that a decision was wrong.
DOUBT = 0.05


def apart(one: Found, other: Found) -> float:
    """Return the largest difference of what both have, as a share of the largest value above 1."""
    worst = 0.0
    for name in one.keys() & other.keys():
        scale = max(1.0, float(other[name].abs().max()))
        worst = max(worst, float((one[name] - other[name]).abs().max()) / scale)
    return worst


def timed(way: Way) -> tuple[float, float]:
    """Return the processor seconds and the wall seconds of a step."""
    gc.collect()
    cpu, wall = cpu_seconds(), time.perf_counter()
    way()
    wall = time.perf_counter() - wall
    return cpu_seconds() - cpu, wall


def judge(technique: Technique, bench: Bench, rounds: int) -> dict[str, Any]:
    """Return what a technique is worth."""
    line: dict[str, Any] = {
        "name": technique.name,
        "state": technique.state,
        "why": technique.why,
        "tests": technique.tests,
    }
    pair = technique.make(bench)
    if pair is None:
        return line | {"verdict": f"{technique.state}: not measured here"}
    difference = apart(pair.on(), pair.off())
    runs: dict[str, list[tuple[float, float]]] = {"on": [], "off": []}
    for _ in range(rounds):
        runs["on"].append(timed(pair.on))
        runs["off"].append(timed(pair.off))
    on, off = (
        [statistics.median(one[at] for one in runs[way]) for at in (0, 1)] for way in ("on", "off")
    )
    line |= {
        "cpu_s": {"on": on[0], "off": off[0]},
        "wall_s": {"on": on[1], "off": off[1]},
        "cpu_ratio": off[0] / max(on[0], 1e-9),
        "wall_ratio": off[1] / max(on[1], 1e-9),
        "difference": difference,
        "note": pair.note(),
        "runs": runs,
    }
    if technique.exact and difference > EXACT:
        line["broken"] = f"loss or gradients differ by {difference:.1e}"
    ratio = line["wall_ratio" if pair.clock else "cpu_ratio"]
    return line | {"verdict": verdict(technique, ratio)}


def verdict(technique: Technique, ratio: float) -> str:
    """Return what is done and why, and whether this run speaks against it."""
    told = f"{technique.state}: {technique.why}"
    against = {"kept": ratio < 1 - DOUBT, "not kept": ratio > 1 + DOUBT, "option": False}
    if technique.judged and against[technique.state]:
        return f"{told}; this run speaks against it"
    return told


def elsewhere() -> list[dict[str, Any]]:
    """Return what scripts of their own have found."""
    found = []
    if (file := RESULTS / "packing.json").exists():
        packed = json.loads(file.read_text())
        one = packed["2048 tokens"]["first fit, pool 64"]
        ratio = (1 + one["imbalance_in_turn"]) / (1 + one["imbalance_balanced"])
        name, why = (
            "balanced batches of 8 processes (packing.py)",
            "the dearest process sets the pace",
        )
        found.append({"name": name, "wall_ratio": ratio, "verdict": f"kept: {why}"})
        found[-1]["tests"] = "tests/data/test_balance.py, tests/train/test_distributed.py"
    if (file := RESULTS / "feature_cache.json").exists():
        ratio = json.loads(file.read_text())["ratio"]
        name = "feature cache, whole run, heavy tower (feature_cache.py)"
        found.append({"name": name, "wall_ratio": ratio, "verdict": "option: `auto` decides"})
        found[-1]["tests"] = "tests/train/test_features.py"
    return found


def show(line: dict[str, Any]) -> None:
    """Print a line of the table."""
    figures = "".join(
        f"{line[key]:7.2f} x" if key in line else " " * 9 for key in ("cpu_ratio", "wall_ratio")
    )
    differs = f"{line['difference']:8.1e}" if "difference" in line else " " * 8
    told = "; ".join(one for one in (line["verdict"], line.get("note"), line.get("broken")) if one)
    print(f"{line['name']:52} {figures} {differs}  {told}", flush=True)


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="bench")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--only", action="append", help="techniques whose name holds this; others stay as they were"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "means.json")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    chosen = [
        one for one in TECHNIQUES if not given.only or any(word in one.name for word in given.only)
    ]
    document: dict[str, Any] = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "size": given.size,
        "samples": given.samples,
        "rounds": given.rounds,
        "threads": given.threads,
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
    }
    known: dict[str, dict[str, Any]] = {}
    if given.only and given.out.exists():
        known = {one["name"]: one for one in json.loads(given.out.read_text())["techniques"]}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), given.size, given.samples)
        document["parameters"] = sum(value.numel() for value in bench.model.parameters())
        for technique in chosen:
            known[technique.name] = judge(technique, bench, given.rounds)
            show(known[technique.name])
            ordered = [known[one.name] for one in TECHNIQUES if one.name in known]
            text = json.dumps(document | {"techniques": [*ordered, *elsewhere()]}, indent=1)
            given.out.write_text(text + "\n")
    for line in elsewhere():
        show(line)
    broken = [one.name for one in chosen if "broken" in known[one.name]]
    if broken:
        sys.exit(f"loss or gradients are not those of the plain path: {', '.join(broken)}")


if __name__ == "__main__":
    main()
