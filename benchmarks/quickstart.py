"""Run `hocket quickstart` with several seeds and print the medians of what it measures.

    python benchmarks/quickstart.py [SEEDS] [--fast]

Each run is a fresh process in a fresh folder. Prints one line per seed and the medians, and writes
them to benchmarks/results/quickstart.json. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGETS = {"image": 0.97, "audio": 0.95, "video": 0.97, "image+audio": 0.95}


def run(seed: int, *, fast: bool) -> dict[str, float]:
    """Return accuracy by modality, wall seconds and peak memory of one run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hocket", "quickstart"]
        command += ["--seed", str(seed), "--out", f"{folder}/q", *(["--fast"] if fast else [])]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - started
        figures = json.loads(Path(folder, "q", "result.json").read_text())
    accuracy = {name: share["value"] for name, share in figures["after"].items()}
    return accuracy | {"wall_seconds": wall, "memory_gb": figures["peak_memory_bytes"] / 2**30}


def main() -> None:
    """Run every seed and print medians beside the targets."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    fast = "--fast" in sys.argv
    runs = []
    for seed in range(int(words[0]) if words else 3):
        runs.append(run(seed, fast=fast))
        print(f"seed {seed}: " + "  ".join(f"{k} {v:.3f}" for k, v in runs[-1].items()), flush=True)
    medians = {key: statistics.median(one[key] for one in runs) for key in runs[0]}
    for key, value in medians.items():
        target = f"  (target >= {TARGETS[key]})" if key in TARGETS else ""
        print(f"median {key}: {value:.3f}{target}")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    name = "quickstart_fast.json" if fast else "quickstart.json"
    (results / name).write_text(json.dumps({"runs": runs, "medians": medians}, indent=1) + "\n")


if __name__ == "__main__":
    main()
