"""Speed on one GPU: training against transformers' Trainer, and generation. No GPU, no figures.

    python benchmarks/gpu.py [--minutes N] [--parts "NAME;NAME"]
    python benchmarks/gpu.py --size tiny --device cpu        tries the code out, in a minute

benchmarks/results/gpu.json exists only where a GPU has been measured; without one nothing is
written and docs/performance.md says so. Everything is of one run of at most 8 minutes:

* work: operations that a step needs, by `hocket.plan.trace`, each sample's attention by itself;
* train: full steps of a composite of 1B class (a tower of SigLIP-so400m's size, 1.3 G of language
  model, random weights), forward, backward, clipping and fused AdamW, on packed rows of 8,192
  tokens, float32 weights under bfloat16 autocast: by transformers' mask, varlen and FlexAttention,
  with and without compiled blocks and fused loss, and with bfloat16 weights. Each tells its share
  of the rate that large matrix products reach in the same process;
* trainer: transformers' Trainer and `LlavaForConditionalGeneration`, the same samples, padded;
* resume: a run that breaks off and goes on, against one that does not;
* generation: tokens per second of the engine at 1, 8 and 64 requests, and of `generate`.

On a GPU each part has a process of its own, so that one that fails leaves the others.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from peers.assets import SIZES
from techniques.device import Setting, write
from techniques.on_gpu import VARIANTS, part_of

RESULT = Path(__file__).parent / "results" / "gpu.json"
MARK = "PART "
# The most important first: what the time does not suffice for is left out.
PARTS = (
    "work",
    "mask",
    "trainer",
    "varlen",
    "varlen, compiled",
    "generation",
    "resume",
    "flex",
    "varlen, compiled, bfloat16 weights",
    "mask, compiled, fused loss",
    "varlen, fused loss",
    "documents",
)
# More than any part should take: one that hangs leaves time for those behind it.
MOST_SECONDS = 150


def apart(setting: Setting, name: str, seconds: float) -> dict[str, Any]:
    """Return what a part found in a process of its own, or how it failed."""
    command = [sys.executable, __file__, "--part", name, "--size", setting.size]
    command += ["--device", setting.device, "--folder", str(setting.folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"failed": f"took longer than {seconds:.0f} s"}
    told = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if told:
        found: dict[str, Any] = json.loads(told[-1].removeprefix(MARK))
        return found
    return {"failed": " ".join((done.stderr or done.stdout).split()[-60:])}


def summary(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return each way's share of the matrix rate, and its speed over the Trainer's."""
    flops = found.get("work", {}).get("flops")
    speeds = {name: one for name, one in found.items() if "step_s" in one}
    made: dict[str, Any] = {}
    for name, one in speeds.items():
        line = made[name] = {}
        if flops:
            line["utilisation"] = flops / one["step_s"] / one["matrix_flops_per_s"]
        if "trainer" in speeds:
            line["over_trainer"] = speeds["trainer"]["step_s"] / one["step_s"]
        if "mask" in speeds:
            # Of the first step: all ways have the same weights and samples.
            line["loss_from_mask"] = abs(one["losses"][0] - speeds["mask"]["losses"][0])
    return made


def show(name: str, one: dict[str, Any], line: dict[str, Any]) -> None:
    """Print a part."""
    if "failed" in one:
        print(f"{name:36} failed: {one['failed']}", flush=True)
    elif "step_s" in one:
        print(
            f"{name:36} {one['tokens_per_s']:9.0f} tokens/s  {one['peak_mb']:7.0f} MB  "
            + "  ".join(f"{key} {value:.3g}" for key, value in line.items()),
            flush=True,
        )
    else:
        print(f"{name:36} {json.dumps(one)}", flush=True)


def main() -> None:
    """Measure the parts in turn and keep what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="1b")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--parts", help="names, with semicolons between")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.part:
        one = part_of(Setting(given.size, given.device, given.folder), given.part)
        print(MARK + json.dumps(one), flush=True)
        return
    if given.device != "cpu" and not torch.cuda.is_available():
        print("No GPU is here: nothing is measured. --size tiny --device cpu tries the code out.")
        sys.exit(0 if given.device == "auto" else 1)
    until = time.monotonic() + 60 * given.minutes
    device = "cpu" if given.device == "cpu" else "cuda"
    document: dict[str, Any] = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "torch": torch.__version__,
        "size": given.size,
    }
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        setting = Setting(given.size, device, Path(name))
        write(setting.folder, SIZES[given.size], 64)
        for part in given.parts.split(";") if given.parts else PARTS:
            if part in VARIANTS and VARIANTS[part].on != "both" and VARIANTS[part].on != device:
                continue
            left = until - time.monotonic()
            if left < 10:
                found[part] = {"failed": f"no time was left of {given.minutes:g} minutes"}
            elif device == "cuda":
                found[part] = apart(setting, part, min(left, MOST_SECONDS))
            else:
                found[part] = part_of(setting, part)
            document |= {"seconds": 60 * given.minutes - (until - time.monotonic())}
            document |= {"parts": found, "summary": summary(found)}
            show(part, found[part], document["summary"].get(part, {}))
            out = given.out or (RESULT if device == "cuda" else None)
            if out:
                out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
