"""Transformers' own Trainer under the same kills, for comparison.

A tiny `LlavaForConditionalGeneration` trains on pictures, which a random change may brighten, as
augmentation does; it is killed at random moments and started again with ``resume_from_checkpoint``.

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
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from tests.chaos.table import format_table, put_table
from torch import Tensor
from torch.utils.data import Dataset
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint

NAME = "trainer"
STEPS = 12
TOKENS = 32
SIZE, PATCH = 16, 8
PATCHES = (SIZE // PATCH) ** 2
IMAGE = 255
SECONDS = 300
FAILED = "could not resume"


class Rows(Dataset[dict[str, Tensor]]):
    """Fixed rows of a picture and tokens; each look may change the picture's light."""

    def __init__(self, *, changes: bool) -> None:
        draw = torch.Generator().manual_seed(0)
        self._rows = torch.randint(3, IMAGE, (64, TOKENS), generator=draw)
        self._rows[:, 1 : 1 + PATCHES] = IMAGE
        self._pictures = torch.rand(64, 3, SIZE, SIZE, generator=draw)
        self._changes = changes

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        row, picture = self._rows[index], self._pictures[index]
        if self._changes:
            picture = picture * torch.empty(()).uniform_(0.8, 1.2)
        labels = torch.where(row == IMAGE, -100, row)
        return {"input_ids": row, "pixel_values": picture, "labels": labels}


class Steps(TrainerCallback):  # type: ignore[misc] # transformers ships no types
    """Notes each step that is done, and where a start begins."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Note the step that training goes on from."""
        self._note("from", state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Note a step."""
        self._note("done", state.global_step)

    def _note(self, word: str, step: int) -> None:
        with self._file.open("a") as file:
            file.write(f"{word} {step}\n")


def _train(out: Path, changes: bool) -> None:
    with (out.parent / "output.txt").open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    eye = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=SIZE,
        patch_size=PATCH,
    )
    text = LlamaConfig(
        vocab_size=256,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
    )
    config = LlavaConfig(vision_config=eye, text_config=text, image_token_id=IMAGE)
    trainer = Trainer(
        model=LlavaForConditionalGeneration(config),
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
        callbacks=[Steps(out.parent / "steps.txt")],
    )
    found = get_last_checkpoint(str(out)) if out.is_dir() else None
    trainer.train(resume_from_checkpoint=found is not None)
    trainer.save_model(str(out / "model"))


def _start(out: Path, changes: bool) -> ForkServerProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "transformers.trainer", "transformers.models.llava"])
    process = context.Process(target=_train, args=(out, changes))
    process.start()
    return process


def _weights(out: Path) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(load_file(out / "model" / "model.safetensors").items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()


class Ended(NamedTuple):
    """How a run ended that was killed once: hash of its weights, and steps that were done again."""

    weights: str
    lost: int


def _one_run(out: Path, changes: bool, rng: random.Random, seconds: float) -> Ended | None:
    """Kill a run once, start it again, and return how that ended; None if it was done before."""
    out.parent.mkdir(parents=True)
    process = _start(out, changes)
    first = out / "checkpoint-2"
    while process.is_alive() and not first.exists():
        time.sleep(0.001)
    time.sleep(rng.uniform(0, seconds))
    killed = process.is_alive()
    process.kill()
    process.join()
    if not killed or (out / "model").exists():
        return None
    again = _start(out, changes)
    again.join(SECONDS)
    if again.exitcode != 0:
        again.kill()
        return Ended(FAILED, 0)
    return Ended(_weights(out), _lost(out.parent / "steps.txt"))


def _lost(file: Path) -> int:
    """Return the steps before the kill that the second start did again."""
    lines = [line.split() for line in file.read_text().splitlines()]
    second = max(at for at, (word, _) in enumerate(lines) if word == "from")
    done = max((int(step) for word, step in lines[:second] if word == "done"), default=0)
    return done - int(lines[second][1])


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
            found: list[Ended] = []
            tries = 0
            until = began + 30 * given.minutes * (number + 1)
            while len(found) < given.runs and time.monotonic() < until:
                out = Path(home, f"run-{changes}-{tries}", "out")
                tries += 1
                one = _one_run(out, changes, rng, window)
                if one is not None:
                    found.append(one)
                else:
                    window *= 0.95
            ends = [one.weights for one in found]
            lost = [one.lost for one in found if one.weights != FAILED]
            again = f"{sum(lost) / max(len(lost), 1):.2f} / {max(lost, default=0)}"
            kind = "random light" if changes else "plain pictures"
            rows.append((kind, len(found), ends.count(expected), ends.count(FAILED), again))
    head = ("Trainer, LLaVA", "runs killed once", "bit-equal", FAILED, "steps again: mean / most")
    text = format_table(head, rows)
    text += f"\n\n{time.monotonic() - began:.0f} s, seed {given.seed}, {os.cpu_count()} cores, CPU."
    sys.stdout.write(text + "\n")
    if given.write:
        put_table(given.write, NAME, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
