"""How long training waits at a save, with a model of about 100 million parameters and AdamW.

The trainer copies weights and moments behind the next forward and backward pass, and a thread
writes, hashes and flushes them. Beside it: to copy before training goes on, and to wait until the
checkpoint is on the disk, as trainers that save in their loop do. The target is 0.2 s.

::

    python benchmarks/save_stall.py [--layers 11] [--saves 4] [--folder FOLDER]

Writes benchmarks/results/save_stall.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from hocket.train.saver import HostCopy, Saver, state_of
from hocket.train.state import TrainState, optimizer_tensors, write_state

WIDTH, TOKENS = 768, 128
WAYS = ("behind the next step", "copied at once", "written at once")


class Loop:
    """A small training loop that saves as the trainer does.

    Args:
        layers: decoder layers.
        folder: where checkpoints go.
    """

    def __init__(self, layers: int, folder: Path) -> None:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=8192,
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=layers,
            num_attention_heads=12,
        )
        self.model = LlamaForCausalLM(config)
        named = list(self.model.named_parameters())
        group = {"params": [one for _, one in named], "names": [name for name, _ in named]}
        self._optimizer = torch.optim.AdamW([group], lr=1e-4)
        self._optimizer.register_step_pre_hook(lambda *_: self._wait_for_copy())
        self._ids = torch.randint(0, 8192, (1, TOKENS))
        self._folder, self._weights, self._moments = folder, HostCopy(), HostCopy()
        self._saver: Saver | None = None
        self.waited = 0.0

    def measure(self, way: str, saves: int) -> tuple[list[float], list[float]]:
        """Return the seconds that training waited at each save, and those of each step."""
        waits, steps = [], []
        with Saver(keep=1, before=lambda: None) as saver:
            self._saver = saver
            self.step()
            for number in range(saves):
                self.waited = 0.0
                self._save(saver, self._folder / f"{way[:3]}-step-{number:06d}", way)
                began, before = time.perf_counter(), self.waited
                self.step()
                steps.append(time.perf_counter() - began - (self.waited - before))
                waits.append(self.waited)
                saver.wait()  # a run saves seldom enough that the one before has ended
        self._saver = None
        return waits, steps

    def step(self) -> None:
        """Make one optimizer step."""
        self.model(input_ids=self._ids, labels=self._ids).loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def _wait_for_copy(self) -> None:
        began = time.perf_counter()
        if self._saver is not None:
            self._saver.wait_for_copy()
        self.waited += time.perf_counter() - began

    def _save(self, saver: Saver, target: Path, way: str) -> None:
        began = time.perf_counter()
        trained, steady = state_of(self.model)
        moments = optimizer_tensors(self._optimizer)

        def fill(folder: Path) -> None:
            weights = steady | self._weights.take(trained)
            copied = moments._replace(tensors=self._moments.take(moments.tensors))
            saver.copied()
            save_file({name: one.clone() for name, one in weights.items()}, folder / "model.st")
            write_state(folder, TrainState("stage"), copied, weights)

        saver.start(target, fill)
        if way == "copied at once":
            saver.wait_for_copy()
        elif way == "written at once":
            saver.wait()
        self.waited += time.perf_counter() - began


def main() -> int:
    """Measure and print; return 1 if the trainer's way waits longer than the target."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--saves", type=int, default=4)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    median, most = {}, {}
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        loop = Loop(given.layers, Path(folder))
        size = sum(one.numel() for one in loop.model.parameters()) / 1e6
        print(f"{size:.0f} M parameters, {3 * 4 * size / 1e3:.2f} GB a save")
        print("way                     waits, median / most    step beside it, median")
        for way in WAYS:
            waits, steps = loop.measure(way, given.saves)
            median[way], most[way] = statistics.median(waits), max(waits)
            print(
                f"{way:22}  {median[way]:7.3f} s / {max(waits):7.3f} s   "
                f"{statistics.median(steps):7.3f} s",
                flush=True,
            )
    document = {"parameters_m": size, "median_s": median, "most_s": most}
    results = Path(__file__).parent / "results"
    (results / "save_stall.json").write_text(json.dumps(document, indent=1) + "\n")
    return 0 if median[WAYS[0]] <= 0.2 else 1


if __name__ == "__main__":
    sys.exit(main())
