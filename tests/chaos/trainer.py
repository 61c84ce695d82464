"""What the chaos suite trains: a toy with pictures, sounds and videos, in several ways.

A trainer is forked from a server that has torch loaded, so that a cycle takes about a second.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.chaos.disk import obey_permissions, spare_workers
from tests.chaos.power import watch_flushes
from tests.train.toy_run import build_model, data_spec, recipe

from hocket._errors import HocketError
from hocket.train.recipe import Adapter, Recipe
from hocket.train.run import Run, train


@dataclass(frozen=True, slots=True)
class Case:
    """A way to train.

    Attributes:
        name: what is special about it; all of them pack, augment and mix media.
        recipe: its recipe.
    """

    name: str
    recipe: Recipe


def cases() -> list[Case]:
    """Return every way the suite trains in."""
    plain = recipe(workers=0, save_every=1)
    joint = plain.stages["joint"]
    words = Adapter(kind="lora", options={"r": 4, "lora_dropout": 0.1}, lr=1e-2)
    ears = Adapter(part="audio", kind="pissa", targets=["q_proj", "fc1"], options={"r": 2})
    adapted = replace(joint, trainable={}, adapters={"words": words, "ears": ears})
    return [
        Case("0 workers, save each step", plain),
        Case("2 workers, accumulate 2", recipe(workers=2, accumulate=2, save_every=2)),
        Case(
            "1 worker, LoRA and PiSSA",
            replace(plain, workers=1, stages=plain.stages | {"joint": adapted}),
        ),
        Case("4 workers, accumulate 4", recipe(workers=4, accumulate=4, save_every=3)),
    ]


def start(folder: Path, out: Path, chosen: Recipe, kept: Path) -> ForkServerProcess:
    """Train, or go on, in another process.

    Args:
        folder: the data of `write_rows`.
        out: the run's folder.
        chosen: the recipe.
        kept: where its flushes are recorded.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.chaos.trainer"])
    process = context.Process(target=_train, args=(folder, out, chosen, kept))
    process.start()
    return process


def _train(folder: Path, out: Path, chosen: Recipe, kept: Path) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    # A run from a shell forks its workers; they end when it is killed.
    multiprocessing.set_start_method("fork", force=True)
    with (kept.parent / "output.txt").open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    obey_permissions()
    spare_workers()
    watch_flushes(out, kept)
    model, processor = build_model(folder)

    def saved(path: Path) -> None:
        # On the disk for certain: a cut of the power may not take it away.
        with (kept.parent / "saved.txt").open("a") as file:
            file.write(f"{path.name}\n")

    run = Run(recipe=chosen, data=data_spec(folder), out=out, on_checkpoint=saved)
    try:
        train(run, model, processor)
    except HocketError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.exit_code) from None
