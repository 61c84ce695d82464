"""The toy run's rows with the classes of their media, and a stage that tells them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file
from tests.train.parallel.runs import three_steps
from tests.train.toy_run import COLOURS, PITCHES, write_rows
from torch import Tensor

from hocket.train.recipe import HeadMedia, HeadSpec, LossSpec, Recipe

COLOUR = HeadSpec(label="colour", classes=len(COLOURS), weight=0.3, media=HeadMedia.VISION)
PITCH = HeadSpec(label="pitch", classes=len(PITCHES), weight=0.2)
LOSS = LossSpec(text=0.5, heads={"colour": COLOUR, "audio": PITCH})


def write_labelled(folder: Path) -> None:
    """Write the toy run's rows with classes: of all media, in lists, and a few of none."""
    write_rows(folder)
    file = folder / "media.json"
    rows = json.loads(file.read_text(encoding="utf-8"))
    for number, row in enumerate(rows):
        if number != 6:
            row["colour"] = number % 3 if number % 2 else [number % 3] * (number % 6 in (0, 4))
        if number != 8:
            row["pitch"] = -100 if number == 9 else number % 2
    file.write_text(json.dumps(rows), encoding="utf-8")


def with_heads(chosen: Recipe, loss: LossSpec = LOSS) -> Recipe:
    """Return a recipe all of whose stages have heads."""
    stages = {name: replace(stage, loss=loss) for name, stage in chosen.stages.items()}
    return replace(chosen, stages=stages)


def three_told(*, accumulate: int = 1, match: str = "*") -> Recipe:
    """Return three steps in which few rows have a medium and a label."""
    return with_heads(three_steps(accumulate=accumulate, match=match))


def heads_of(out: Path) -> dict[str, Tensor]:
    """Return the heads of a run's last checkpoint."""
    last = max((out / "checkpoints").iterdir(), key=lambda one: (one.stat().st_mtime_ns, one.name))
    return load_file(last / "training" / "heads.safetensors")
