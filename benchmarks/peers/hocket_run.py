"""Hocket's own training; ``--cache`` takes the frozen tower's features from the disk."""

from __future__ import annotations

from typing import Any

import probe

from hocket.checkpoint.directory import load_checkpoint
from hocket.data.spec import DatasetSpec, DataSpec
from hocket.tokens.batch import IGNORED
from hocket.train.loop import Report
from hocket.train.recipe import FeaturePolicy, Group, Recipe, Schedule, Stage
from hocket.train.run import Run, train
from hocket.train.state import TrainState


def recipe_of(job: probe.Job) -> Recipe:
    """Return the recipe: one packed row a step."""
    stage = Stage(
        data={"rows": 1.0},
        trainable={"all": Group(match="connector" if job.frozen else "*", lr=job.lr)},
        steps=job.steps,
        rows=1,
        tokens_per_row=job.tokens,
        warmup_steps=0,
        schedule=Schedule.CONSTANT,
    )
    return Recipe(
        stages={"bench": stage},
        betas=(0.9, 0.999),
        pool=job.pool,
        feature_cache=FeaturePolicy.ON if job.cache else FeaturePolicy.OFF,
    )


def main() -> None:
    """Train and tell."""
    job = probe.read_job()
    account = probe.Probe("hocket, cached features" if job.cache else "hocket", job)
    model, processor = load_checkpoint(job.folder / "hocket")[:2]
    pad = processor.tokenizer.pad_token_id

    def watch(_: object, __: object, batch: dict[str, Any]) -> None:
        ids, labels = batch["input_ids"], batch.get("labels")
        # Before the first step the run proves that packed samples do not see each other.
        if labels is not None:
            learned = int((labels[:, 1:] != IGNORED).sum())
            account.count(ids.numel(), int((ids != pad).sum()), learned)

    model.register_forward_pre_hook(watch, with_kwargs=True)

    def note(state: TrainState, report: Report) -> None:
        account.losses.append(report.loss)

    path, images = str(job.folder / "llava.json"), str(job.folder / "images")
    data = DataSpec(datasets={"rows": DatasetSpec(path=path, media_root=images)})
    train(Run(recipe=recipe_of(job), data=data, out=job.out), model, processor, [note])
    account.tell()


if __name__ == "__main__":
    main()
