"""Training against what people would pick instead: the same model, samples and steps for each.

    benchmarks/peers/install.sh              # once: environments of the peers, see there
    python benchmarks/train.py [--rounds N] [--steps N] [--kinds full,align,towers]
                               [--peers trainer,trl,llamafactory,swift,nanovlm] [--threads N]
    python benchmarks/train.py --check       # do hocket and the Trainer have the same losses?

`full` trains everything, `align` the connector between a frozen tower and a frozen language model,
with hocket also from its feature cache; `towers` is `align` with a tower that costs more than twice
what the language model costs. A step is 4 samples, or one packed row of as many tokens. Each run is
a fresh process with 2 threads; runs take turns (A B A B), peers other than the Trainer run in the
first round only. The first step is not counted. A peer without environment is left out by name.

Prints supervised tokens per second of the clock and of the processor, padding, peak memory at the
last step and the seconds before the first; writes benchmarks/results/train.json. About 12 minutes
with the defaults on 2 idle cores.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MARK = "PROBE "
ROWS = 4
CACHED = "hocket, cached features"
# Kind of comparison -> size of the model, mode, whether hocket also runs from its cache.
KINDS = {
    "full": ("bench", "full", False),
    "align": ("bench", "align", True),
    "towers": ("towers", "align", True),
}
# Peer -> script and environment of peers/install.sh; an empty one is this Python.
PEERS = {
    "trainer": ("hf_trainer.py", ""),
    "trl": ("trl_sft.py", "trl"),
    "llamafactory": ("llama_factory.py", "llamafactory"),
    "swift": ("ms_swift.py", "swift"),
    "nanovlm": ("nano_vlm.py", "nanovlm"),
}


@dataclass(frozen=True)
class Setting:
    """What all runs share.

    Attributes:
        steps: optimizer steps of a run, the first of which is not counted.
        threads: of torch.
        folder: where models, samples and outputs are.
        environments: where `install.sh` made those of the peers.
        size: of all models, to try this script out; empty takes each kind's own.
    """

    steps: int
    threads: int
    folder: Path
    environments: Path
    size: str = ""

    @property
    def samples(self) -> int:
        """Samples that a run sees once."""
        return ROWS * self.steps

    def python(self, environment: str) -> Path:
        """Return the Python of a peer."""
        if not environment:
            return Path(sys.executable)
        return self.environments / environment / "bin" / "python"


def make(setting: Setting, size: str, samples: int = 0) -> Path:
    """Make a model and its samples, and return their folder."""
    size = setting.size or size
    folder = setting.folder / size
    command = [*environment(setting), sys.executable, str(HERE / "peers" / "assets.py")]
    command += [str(folder), "--size", size, "--samples", str(samples or setting.samples)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return folder


def environment(setting: Setting, *, ours: bool = True) -> list[str]:
    """Return the start of a command that sets variables.

    Threads wait without turning, features have a folder of their own, libraries ask no network.

    Args:
        setting: what all runs share.
        ours: whether hocket is to be found; a path to it would change what peers import.
    """
    variables = {
        "OMP_NUM_THREADS": str(setting.threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "0",
        "HOCKET_CACHE": str(setting.folder / "cache"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "DISABLE_VERSION_CHECK": "1",
    }
    path = [f"PYTHONPATH={HERE.parent / 'src'}"] if ours else ["-u", "PYTHONPATH"]
    return ["env", *path, *(f"{name}={value}" for name, value in variables.items())]


def run(setting: Setting, script: str, python: Path, where: Path, words: Sequence[str]) -> Any:
    """Train in a fresh process; return what it told, or how it failed."""
    with tempfile.TemporaryDirectory(dir=setting.folder) as out:
        command = environment(setting, ours=python == Path(sys.executable))
        command += [str(python), str(HERE / "peers" / script), str(where), *words]
        command += ["--steps", str(setting.steps), "--threads", str(setting.threads), "--out", out]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if told:
        return json.loads(told[-1].removeprefix(MARK))
    return {"failed": (done.stderr or done.stdout).strip().splitlines()[-1:]}


def tokens_per_row(where: Path, samples: int) -> int:
    """Return the length of a packed row that holds as many tokens as the padded rows of a step."""
    from hocket.checkpoint.directory import load_checkpoint
    from hocket.checkpoint.loading import Placement
    from hocket.data.mixture import open_source
    from hocket.data.spec import DatasetSpec

    processor = load_checkpoint(where / "hocket", Placement(device="meta")).processor
    spec = DatasetSpec(path=str(where / "llava.json"), media_root=str(where / "images"))
    source = open_source("rows", spec)
    known = (processor.measure(processor.prepare(source[at])) for at in range(samples))
    lengths = [one.cost.tokens for one in known]
    return max(*lengths, -(-sum(lengths) * ROWS // samples))


def turns(kind: str, peers: Sequence[str], first: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield who runs in a round of a kind: a script's peer, and further words."""
    _, mode, cached = KINDS[kind]
    yield "hocket", (mode,)
    for peer in peers:
        if peer == "trainer" or (first and kind != "towers"):
            yield peer, (mode,)
    if cached:
        yield "hocket", (mode, "--cache")


def measure(setting: Setting, kind: str, peers: Sequence[str], number: int) -> list[dict[str, Any]]:
    """Return the runs of a round of a kind."""
    where = make(setting, KINDS[kind][0])
    tokens = tokens_per_row(where, setting.samples)
    found = []
    for peer, words in turns(kind, peers, first=number == 0):
        script, env = ("hocket_run.py", "") if peer == "hocket" else PEERS[peer]
        python = setting.python(env)
        if not python.exists():
            if number == 0:
                print(f"{kind:7} {peer}: no {python}, see benchmarks/peers/install.sh")
            continue
        pool = ("--tokens", str(tokens), "--pool", str(setting.samples))
        one = run(setting, script, python, where, [*words, *pool])
        found.append({"kind": kind, "round": number, "asked": peer, **one})
        show(found[-1])
    return found


def take_apart(setting: Setting, kinds: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return kind -> peer -> what a counted step of it is made of, hocket's and the Trainer's."""
    setting = replace(setting, steps=2)
    found: dict[str, dict[str, Any]] = {}
    for kind in kinds:
        where = make(setting, KINDS[kind][0])
        tokens = tokens_per_row(where, setting.samples)
        words = [KINDS[kind][1], "--profile", "--tokens", str(tokens)]
        for script in ("hocket_run.py", "hf_trainer.py"):
            one = run(setting, script, Path(sys.executable), where, words)
            if "failed" not in one:
                per_token = one["profile"]["gflop"] / max(1, one["supervised"])
                made = one["profile"] | {"gflop_per_supervised": per_token}
                found.setdefault(kind, {})[one["peer"]] = made
    return found


def show(one: dict[str, Any]) -> None:
    """Print a run."""
    if "failed" in one:
        print(f"{one['kind']:7} {one['asked']}: failed: {one['failed']}", flush=True)
        return
    print(
        f"{one['kind']:7} {one['peer']:24} {one['supervised_per_s']:7.1f} /s  "
        f"{one['supervised_per_cpu_s']:6.1f} /cpu s  padding {one['padding']:6.1%}  "
        f"peak {one['peak_mb']:6.0f} MB  start {one['start_s']:5.1f} s",
        flush=True,
    )


FIGURES = (
    "supervised_per_s",
    "supervised_per_cpu_s",
    "tokens_per_s",
    "padding",
    "peak_mb",
    "peak_with_saving_mb",
    "start_s",
    "start_cpu_s",
)


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return kind -> peer -> medians of the figures and the spread of the first."""
    kept: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for one in runs:
        if "failed" not in one:
            one["tokens_per_s"] = one["tokens"] / one["wall_s"]
            kept.setdefault(one["kind"], {}).setdefault(one["peer"], []).append(one)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for kind, peers in kept.items():
        for peer, own in peers.items():
            line = {name: statistics.median(one[name] for one in own) for name in FIGURES}
            speeds = [one["supervised_per_s"] for one in own]
            line["spread"] = (max(speeds) - min(speeds)) / statistics.median(speeds)
            line["runs"] = len(own)
            found.setdefault(kind, {})[peer] = line
    return found


def ratios(medians: dict[str, dict[str, dict[str, float]]]) -> dict[str, dict[str, Any]]:
    """Return kind -> hocket's figures over those of its best peer of the same run.

    The best peer of a kind is the one with the most supervised tokens a second, for processor
    seconds the one with the most of those.
    """
    found: dict[str, dict[str, Any]] = {}
    for kind, peers in medians.items():
        others = {name: line for name, line in peers.items() if not name.startswith("hocket")}
        for name, mine in peers.items():
            if name in others or not others:
                continue
            best = max(others, key=lambda peer: others[peer]["supervised_per_s"])
            quick = max(others, key=lambda peer: others[peer]["supervised_per_cpu_s"])
            found[f"{kind}, cached" if name == CACHED else kind] = {
                "best_peer": best,
                "wall": mine["supervised_per_s"] / others[best]["supervised_per_s"],
                "cpu": mine["supervised_per_cpu_s"] / others[quick]["supervised_per_cpu_s"],
                "all_tokens": mine["tokens_per_s"] / others[best]["tokens_per_s"],
                "memory": mine["peak_mb"] / others[best]["peak_mb"],
                "padding": mine["padding"],
                "start_s": mine["start_s"],
            }
    return found


def check(
    folder: Path, *, size: str = "tiny", steps: int = 3, modes: Sequence[str] = ("full", "align")
) -> dict[str, Any]:
    """Return how far hocket's losses and counts are from the Trainer's on the same 4 samples.

    One batch is trained on again and again, packed there and padded here, so that a difference of
    gradients or of the optimizer would show in the second loss.
    """
    setting = Setting(steps=steps, threads=1, folder=folder, environments=folder)
    where = make(setting, size, ROWS)
    tokens = tokens_per_row(where, ROWS)
    found: dict[str, Any] = {}
    for mode in modes:
        words = [mode, "--tokens", str(tokens), "--pool", str(ROWS), "--lr", "1e-3"]
        python = Path(sys.executable)
        mine = run(setting, "hocket_run.py", python, where, words)
        other = run(setting, "hf_trainer.py", python, where, words)
        for one in (mine, other):
            if "failed" in one:
                raise SystemExit(f"{mode}: {one['failed']}")
        found[mode] = {
            "loss": max(abs(a - b) for a, b in zip(mine["losses"], other["losses"], strict=True)),
            "losses": mine["losses"],
            "tokens": (mine["all_tokens"], other["all_tokens"]),
            "supervised": (mine["all_supervised"], other["all_supervised"]),
        }
    return found


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    from importlib.metadata import version

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "cpu": names[0] if names else platform.processor(),
        "load_average": os.getloadavg()[0],
        "versions": {name: version(name) for name in ("torch", "transformers")},
    }


def peer_versions(setting: Setting) -> dict[str, str]:
    """Return the versions that `install.sh` wrote down, of the packages that matter."""
    wanted = ("trl", "llamafactory", "ms-swift", "ms_swift", "transformers", "torch")
    found = {}
    for peer, (_, env) in PEERS.items():
        listed = setting.environments / env / "versions.txt"
        if env and listed.exists():
            lines = listed.read_text().splitlines()
            kept = [one for one in lines if one.partition("==")[0] in wanted]
            found[peer] = ", ".join(kept)
    return found


def main() -> None:
    """Measure A B A B and keep what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--size", default="", help="tiny tries the script out")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--profile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "train.json")
    parser.add_argument("--environments", type=Path, default=Path("/tmp/peers"))
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="hocket-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if given.check:
            print(json.dumps(check(folder), indent=1))
            return
        setting = Setting(given.steps, given.threads, folder, given.environments, given.size)
        runs: list[dict[str, Any]] = []
        for number in range(given.rounds):
            for kind in given.kinds.split(","):
                runs += measure(setting, kind, given.peers.split(","), number)
                medians = summary(runs)
                document = {
                    "machine": machine(),
                    "asked": {"steps": given.steps, "rounds": given.rounds, "rows": ROWS},
                    "threads": given.threads,
                    "peers": peer_versions(setting),
                    "medians": medians,
                    "ratios": ratios(medians),
                    "runs": runs,
                }
                # Written after each kind, since a run over all of them is long.
                given.out.write_text(json.dumps(document, indent=1) + "\n")
        if given.profile:
            document["profiles"] = take_apart(setting, given.kinds.split(","))
            given.out.write_text(json.dumps(document, indent=1) + "\n")
        for name, line in ratios(summary(runs)).items():
            print(
                f"{name}: {line['wall']:.2f} x {line['best_peer']} "
                f"({line['cpu']:.2f} x per processor second), memory {line['memory']:.2f} x"
            )
    finally:
        if not given.folder:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
