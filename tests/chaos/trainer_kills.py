"""Transformers' own Trainer under the same kills, for comparison.

A tiny Llama trains with a random change of each sample, as augmentation is; it is killed at random
moments and started again with ``resume_from_checkpoint``.

::

    python -m tests.chaos.trainer_kills --runs 20 --write docs/reliability.md
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
import sys
import tempfile
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch
from safetensors.torch import load_file
from tests.chaos.table import format_table, put_table
from torch import Tensor
from torch.utils.data import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

NAME = "trainer"
STEPS = 12
TOKENS = 32
SECONDS = 120


class Rows(Dataset[dict[str, Tensor]]):
    """Fixed rows of tokens; each look may change some, as an augmentation does."""

    def __init__(self, *, changes: bool) -> None:
        draw = torch.Generator().manual_seed(0)
        self._rows = torch.randint(3, 256, (64, TOKENS), generator=draw)
        self._changes = changes

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        row = self._rows[index].clone()
        if self._changes:
            row[torch.rand(TOKENS) < 0.1] = 2
        return {"input_ids": row, "labels": row}


def _train(out: Path, changes: bool) -> None:
    with (out.parent / "output.txt").open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
    )
    trainer = Trainer(
        model=LlamaForCausalLM(config),
        args=TrainingArguments(
            output_dir=str(out),
            max_steps=STEPS,
            per_device_train_batch_size=4,
            save_steps=2,
            save_total_limit=3,
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            seed=0,
        ),
        train_dataset=Rows(changes=changes),
    )
    found = get_last_checkpoint(str(out)) if out.is_dir() else None
    trainer.train(resume_from_checkpoint=found is not None)
    trainer.save_model(str(out / "model"))


def _start(out: Path, changes: bool) -> ForkServerProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "transformers.trainer", "transformers.models.llama"])
    process = context.Process(target=_train, args=(out, changes))
    process.start()
    return process


def _weights(out: Path) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(load_file(out / "model" / "model.safetensors").items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _one_run(out: Path, changes: bool, rng: random.Random, seconds: float) -> str:
    """Kill a run once, start it again, and return how that ended."""
    out.parent.mkdir(parents=True)
    process = _start(out, changes)
    first = out / "checkpoint-2"
    while process.is_alive() and not first.exists():
        time.sleep(0.001)
    time.sleep(rng.uniform(0, seconds))
    killed = process.is_alive()
    process.kill()
    process.join()
    if not killed:
        return "not killed"
    again = _start(out, changes)
    again.join(SECONDS)
    if again.exitcode != 0:
        again.kill()
        return "could not resume"
    return _weights(out)


def main() -> int:
    """Measure and print; return 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.trainer_kills")
    parser.add_argument("--runs", type=int, default=20, help="runs of each kind")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--minutes", type=float, default=60, help="start no run after this long")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder if left out")
    parser.add_argument("--write", type=Path, help="page whose table is replaced")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    began = time.monotonic()
    rows = []
    with tempfile.TemporaryDirectory(dir=given.folder) as home:
        for number, changes in enumerate((False, True)):
            alone = Path(home, f"alone-{changes}", "out")
            alone.parent.mkdir()
            process = _start(alone, changes)
            while process.is_alive() and not (alone / "checkpoint-2").exists():
                time.sleep(0.001)
            at = time.monotonic()
            process.join(SECONDS)
            window = time.monotonic() - at
            expected = _weights(alone)
            found: list[str] = []
            tries = 0
            until = began + 30 * given.minutes * (number + 1)
            while len(found) < given.runs and time.monotonic() < until:
                out = Path(home, f"run-{changes}-{tries}", "out")
                tries += 1
                one = _one_run(out, changes, rng, window)
                if one != "not killed":
                    found.append(one)
                else:
                    window *= 0.95
            failed = found.count("could not resume")
            kind = "random change of samples" if changes else "plain"
            rows.append((kind, len(found), found.count(expected), failed))
    head = ("transformers Trainer", "runs killed once", "bit-equal", "could not resume")
    text = format_table(head, rows)
    text += f"\n\n{time.monotonic() - began:.0f} s, seed {given.seed}, {os.cpu_count()} cores, CPU."
    sys.stdout.write(text + "\n")
    if given.write:
        put_table(given.write, NAME, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
