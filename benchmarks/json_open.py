"""Open a large JSON file: hocket's source against `json.load`, and `datasets` where it is there.

    python benchmarks/json_open.py [ROWS] [--rounds N]

Generates rows as LLaVA writes them (600,000 unless told otherwise), then opens them in fresh
processes, A B A B, each reading 1,000 rows at random behind the opening. Prints seconds, the memory
that was added over the imports, and the ratios of the medians; writes them to
benchmarks/results/json_open.json. hocket is measured twice: the first time, when it looks for the
rows, and later, when it knows where they are.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROWS = 600_000
READ = 1_000
LATER_SECONDS = 3.0


def write(path: Path, rows: int) -> None:
    """Write rows of one to five turns, about 950 bytes each."""
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(2000)]
    with path.open("w", encoding="utf-8") as file:
        for row in range(rows):
            turns = []
            for turn in range(rng.randint(1, 5)):
                asked = " ".join(rng.choices(words, k=8))
                value = f"<image>\n{asked}" if turn == 0 else asked
                turns.append({"from": "human", "value": value})
                turns.append({"from": "gpt", "value": " ".join(rng.choices(words, k=30))})
            sample = {"id": f"{row:09d}", "image": f"coco/{row:09d}.jpg", "conversations": turns}
            file.write(("[\n" if row == 0 else ",\n") + json.dumps(sample))
        file.write("\n]\n")


def with_hocket(path: Path) -> Callable[[], Callable[[int], object]]:
    """Return what opens a file with hocket."""
    from hocket.chat.readers import readers
    from hocket.data.sources.json import JsonArray

    reader = readers.get("llava")
    return lambda: JsonArray(path, reader=reader).row


def with_json(path: Path) -> Callable[[], Callable[[int], object]]:
    """Return what opens a file with `json.load`."""

    def opened() -> Callable[[int], object]:
        with path.open(encoding="utf-8") as file:
            return json.load(file).__getitem__

    return opened


def with_datasets(path: Path) -> Callable[[], Callable[[int], object]]:
    """Return what opens a file with the library `datasets`."""
    import datasets

    from hocket._env import cache_dir

    cache = str(cache_dir() / "datasets")

    def opened() -> Callable[[int], object]:
        found = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=cache)
        return found.__getitem__

    return opened


PEERS = {"hocket": with_hocket, "json.load": with_json, "datasets": with_datasets}


def measure(peer: str, path: Path, rows: int) -> dict[str, float]:
    """Open the file in this process and return seconds and megabytes."""
    opener = PEERS[peer](path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    row = opener()
    opened = time.perf_counter()
    for index in random.Random(1).sample(range(rows), min(READ, rows)):
        row(index)
    read = time.perf_counter()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "open_seconds": opened - started,
        "microseconds_per_row": (read - opened) / min(READ, rows) * 1e6,
        "added_mb": (after - before) / 1024,
    }


def child(peer: str, path: Path, rows: int, cache: Path) -> dict[str, float]:
    """Measure in a fresh process."""
    command = ["env", f"HOCKET_CACHE={cache}", sys.executable, __file__, str(rows)]
    command += ["--peer", peer, "--file", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main() -> None:
    """Measure every peer and print medians and ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", type=int, nargs="?", default=ROWS)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--peer", choices=PEERS)
    parser.add_argument("--file", type=Path)
    options = parser.parse_args()
    if options.peer:
        print(json.dumps(measure(options.peer, options.file, options.rows)))
        return
    peers = ["hocket", "json.load"]
    if importlib.util.find_spec("datasets"):
        peers.append("datasets")
    runs: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rows.json")
        write(file, options.rows)
        print(f"{options.rows} rows, {file.stat().st_size / 1e6:.0f} MB")
        for turn in range(options.rounds):
            for peer in peers:
                cache = Path(folder, f"cache{turn}")
                names = (f"{peer} first", f"{peer} later") if peer != "json.load" else (peer,)
                for name in names:
                    found = child(peer, file, options.rows, cache)
                    runs.setdefault(name, []).append(found)
                    figures = "  ".join(f"{key} {value:.4g}" for key, value in found.items())
                    print(f"{name}: {figures}", flush=True)
    report(runs)


def report(runs: dict[str, list[dict[str, float]]]) -> None:
    """Print the medians and what they are as a share of `json.load`; keep them in a file."""
    medians = {
        name: {key: statistics.median(one[key] for one in found) for key in found[0]}
        for name, found in runs.items()
    }
    theirs = medians["json.load"]
    for name, ours in medians.items():
        if name != "json.load":
            print(
                f"{name} against json.load: "
                f"{theirs['open_seconds'] / ours['open_seconds']:.1f} x as fast to open, "
                f"{theirs['added_mb'] / max(ours['added_mb'], 0.1):.0f} x less memory"
            )
    later = medians["hocket later"]["open_seconds"]
    print(f"start after the first time: {later:.4f} s (target <= {LATER_SECONDS:.0f} s)")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    document = json.dumps({"runs": runs, "medians": medians}, indent=1)
    (results / "json_open.json").write_text(document + "\n")


if __name__ == "__main__":
    main()
