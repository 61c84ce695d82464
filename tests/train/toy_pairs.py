"""Pairs of answers to the rows of the toy run, and a stage that learns which to prefer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.train.toy_run import data_spec, write_rows

from hocket.data.spec import DatasetSpec, DataSpec
from hocket.train.recipe import Adapter, Group, PreferenceSpec, Recipe, Schedule, Stage

OTHER = {"red": "blue", "green": "red", "blue": "green", "low": "high", "high": "low"}


def write_pairs(folder: Path) -> None:
    """Write the rows of the toy run, and ``pairs.json`` with the answers to prefer."""
    write_rows(folder)
    pairs = []
    for row in json.loads((folder / "media.json").read_text("utf-8")):
        turns = row.pop("conversations")
        answer = turns[1]["value"]
        wrong = " ".join(OTHER.get(word, word) for word in answer.split())
        pairs.append(row | {"prompt": turns[0]["value"], "chosen": answer, "rejected": wrong})
    (folder / "pairs.json").write_text(json.dumps(pairs), "utf-8")


def pairs_of(folder: Path) -> DataSpec:
    """Return the data sets of the toy run and ``pairs``."""
    spec = data_spec(folder)
    pairs = DatasetSpec(path=str(folder / "pairs.json"), reader="dpo")
    return replace(spec, datasets={**spec.datasets, "pairs": pairs})


def one_stage(
    spec: PreferenceSpec | None = None,
    *,
    steps: int = 5,
    adapter: str = "",
    save_every: int = 1,
    **options: Any,
) -> Recipe:
    """Return a stage of preferences for everything, or for an adapter of some kind."""
    everything = {"all": Group(match="*", lr=3e-3)}
    words = Adapter(part="language", kind=adapter or "lora", lr=1e-2, options={"r": 4})
    stage = Stage(
        data={"pairs": 1.0},
        preference=spec or PreferenceSpec(),
        trainable={} if adapter else everything,
        adapters={"words": words} if adapter else {},
        steps=steps,
        rows=4,
        tokens_per_row=128,
        warmup_steps=1,
        schedule=Schedule.CONSTANT,
        **options,
    )
    return Recipe(stages={"prefer": stage}, seed=3, save_every=save_every, keep=3, pool=8)
