"""Read tar shards: hocket's source against the `webdataset` package, or `tarfile` without it.

    python benchmarks/webdataset.py [SAMPLES] [--rounds N]

Writes shards of 1,000 samples (a 40 kB picture's bytes, a caption, a JSON row) and reads every
sample once in fresh processes, A B A B: hocket in order and at random, the peer in order, which is
all that a stream can do. Nothing is decoded. Prints samples a second and the ratios of the medians;
writes them to benchmarks/results/webdataset.json.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SAMPLES = 20_000
PER_SHARD = 1_000
PICTURE_BYTES = 40_000


def write(folder: Path, samples: int) -> None:
    """Write shards of made-up samples."""
    rng = random.Random(0)
    for first in range(0, samples, PER_SHARD):
        with tarfile.open(folder / f"s-{first // PER_SHARD:05d}.tar", "w") as tar:
            for number in range(first, min(first + PER_SHARD, samples)):
                row = json.dumps({"id": str(number), "source": "made up"}).encode()
                caption = b"a picture of nothing, number %d" % number
                parts = {"jpg": rng.randbytes(PICTURE_BYTES), "txt": caption, "json": row}
                for ending, data in parts.items():
                    info = tarfile.TarInfo(f"{number:07d}.{ending}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))


def hocket(folder: Path, *, at_random: bool) -> int:
    """Read every sample with hocket and return how many there were."""
    from hocket.chat.readers import readers
    from hocket.data.sources.webdataset import WebDataset

    source = WebDataset(folder, reader=readers.get("caption"))
    order = list(range(len(source)))
    if at_random:
        random.Random(1).shuffle(order)
    for index in order:
        row = source.row(index)
        assert "image" in row
        assert "caption" in row
    return len(order)


def package(folder: Path) -> int:
    """Read every sample with the webdataset package."""
    import webdataset

    shards = sorted(map(str, folder.glob("*.tar")))
    count = 0
    # The package: this file is not in its way with -P.
    for sample in webdataset.WebDataset(shards, shardshuffle=False, empty_check=False):  # type: ignore[attr-defined] # a checker sees this file
        json.loads(sample["json"])
        sample["txt"].decode()
        count += len(sample["jpg"]) > 0
    return count


def stream(folder: Path) -> int:
    """Read every sample as a stream with the standard library, grouped by name."""
    count = 0
    for sample in _groups(folder):
        json.loads(sample["json"])
        sample["txt"].decode()
        count += len(sample["jpg"]) > 0
    return count


def _groups(folder: Path) -> Iterator[dict[str, bytes]]:
    for shard in sorted(folder.glob("*.tar")):
        key, sample = "", dict[str, bytes]()
        with tarfile.open(shard, "r|") as tar:
            for info in tar:
                member = tar.extractfile(info)
                assert member is not None
                name, _, ending = info.name.partition(".")
                if name != key and sample:
                    yield sample
                    sample = {}
                key = name
                sample[ending] = member.read()
        yield sample


PEERS: dict[str, Callable[[Path], int]] = {
    "hocket in order": lambda folder: hocket(folder, at_random=False),
    "hocket at random": lambda folder: hocket(folder, at_random=True),
    "webdataset": package,
    "tarfile": stream,
}


def child(peer: str, folder: Path, cache: Path) -> float:
    """Measure in a fresh process and return samples a second."""
    # -P: the folder of this file must not hide the package of the same name.
    command = ["env", f"HOCKET_CACHE={cache}", sys.executable, "-P", __file__]
    command += ["--peer", peer, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    """Measure every peer and print medians and ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("samples", type=int, nargs="?", default=SAMPLES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", choices=PEERS)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.peer:
        PEERS[options.peer](options.folder)  # imports, the page cache, hocket's index
        started = time.perf_counter()
        count = PEERS[options.peer](options.folder)
        print(count / (time.perf_counter() - started))
        return
    peers = [peer for peer in PEERS if peer != "webdataset" or _has_package()]
    rates: dict[str, list[float]] = {peer: [] for peer in peers}
    with tempfile.TemporaryDirectory() as folder:
        shards = Path(folder, "shards")
        shards.mkdir()
        write(shards, options.samples)
        for _ in range(options.rounds):
            for peer in peers:
                rates[peer].append(child(peer, shards, Path(folder, "cache")))
                print(f"{peer}: {rates[peer][-1]:.0f} samples/s", flush=True)
    medians = {peer: statistics.median(found) for peer, found in rates.items()}
    for theirs in peers[2:]:
        for ours in peers[:2]:
            print(f"{ours} against {theirs}: {medians[ours] / medians[theirs]:.2f} x")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    document = json.dumps({"runs": rates, "medians": medians}, indent=1)
    (results / "webdataset.json").write_text(document + "\n")


def _has_package() -> bool:
    command = [
        sys.executable,
        "-P",
        "-c",
        "import importlib.util as i; print(i.find_spec('webdataset'))",
    ]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return found.stdout.strip() != "None"


if __name__ == "__main__":
    main()
