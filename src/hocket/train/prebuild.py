"""The feature cache of a run before it trains: what ``hocket data cache`` does.

Stages are gone through as the run would, without their steps. A tower that an earlier stage trains
has other weights by the time, so its features cannot be built yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hocket._errors import UnknownNameError
from hocket.data.decoder import SampleMemory
from hocket.data.features import KnownFeatures
from hocket.data.spec import DataSpec
from hocket.model.build import Built
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.model.towers import tower_name
from hocket.train.adapt import adapt
from hocket.train.aside import move
from hocket.train.features import (
    FeatureJob,
    complete,
    find_modalities,
    frozen_modalities,
    idle_towers,
    open_features,
    taken_modalities,
)
from hocket.train.feed import Feed, prices_of
from hocket.train.grammar import groups_of
from hocket.train.recipe import FeaturePolicy, Recipe, Stage
from hocket.train.runtime import Runtime
from hocket.train.trainable import select_trainable, set_modes


@dataclass(frozen=True, slots=True)
class Prebuilt:
    """The features of a stage.

    Attributes:
        stage: its name.
        modalities: what the features are of.
        media: media of the stage.
        folders: where they are.
        disk_bytes: what these folders hold.
    """

    stage: str
    modalities: tuple[str, ...]
    media: int
    folders: tuple[Path, ...]
    disk_bytes: int


def prebuild(
    recipe: Recipe,
    data: DataSpec,
    out: Path,
    built: Built,
    *,
    stages: Sequence[str] = (),
    tell: Callable[[str], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Prebuilt]:
    """Build the features of every stage whose towers are those that the run starts with.

    Args:
        recipe: the run's stages.
        data: its data sets.
        out: its folder.
        built: model and processor; the model is changed.
        stages: names of stages to build for; empty for all.
        tell: called with sentences on what is done and what cannot be.
        progress: called with (what, done, all).

    Raises:
        UnknownNameError: there is no such stage.
        MachineError: features cannot be written.
    """
    _check_names(stages, recipe)
    model, processor = built
    runtime = Runtime()
    feed = Feed(
        data=data,
        recipe=recipe,
        out=out,
        processor=processor,
        memory=SampleMemory(processor, cache_mb=0),
        rank=runtime.rank,
        world=runtime.world,
    )
    done: list[Prebuilt] = []
    moved: set[str] = set()
    for name, stage in recipe.to_run().items():
        _freeze(model, name, stage, seed=recipe.seed)
        move(model, runtime.device, but=idle_towers(model, processor, recipe, stage))
        job = FeatureJob(
            name=name,
            stage=stage,
            recipe=recipe,
            data=data,
            out=out,
            model=model,
            processor=processor,
            loader=feed.loader(name, stage, prices=prices_of(model)),
            runtime=runtime,
            tell=tell,
            progress=progress,
        )
        if not stages or name in stages:
            done += _build(job, moved)
        free = taken_modalities(model, processor) - frozen_modalities(model, processor)
        moved |= {tower_name(model.config, kind) for kind in free}
    return done


def _check_names(stages: Sequence[str], recipe: Recipe) -> None:
    for name in stages:
        if name not in recipe.stages:
            raise UnknownNameError("stage", name, recipe.stages)


def _freeze(model: HocketForConditionalGeneration, name: str, stage: Stage, *, seed: int) -> None:
    """Make the model what it is when the stage begins, but for its weights."""
    adapters = adapt(model, name, stage, seed=seed, at=None)
    select_trainable(model, groups_of(stage, model), adapters)
    set_modes(model)


def _build(job: FeatureJob, moved: set[str]) -> list[Prebuilt]:
    """Build the features of one stage, but those of towers that have moved by then."""
    if job.policy is FeaturePolicy.OFF:
        job.say("off.")
        return []
    found = find_modalities(job)
    kinds = {kind for kind in found if tower_name(job.model.config, kind) not in moved}
    if kinds != found:
        late = ", ".join(sorted(found - kinds))
        job.say(f"not built for {late}: an earlier stage trains the tower.")
    if not found:
        job.say("no tower is frozen.")
    if not kinds:
        return []
    features = open_features(job.model, job.processor, frozenset(kinds), job.recipe.feature_dtype)
    media = complete(job, features)
    return [_summary(job, features, sum(map(len, media.places.values())))]


def _summary(job: FeatureJob, features: KnownFeatures, media: int) -> Prebuilt:
    folders = tuple(sorted({shards.folder for shards in features.shards.values()}))
    size = sum(file.stat().st_size for folder in folders for file in folder.glob("*"))
    return Prebuilt(job.name, tuple(sorted(features.modalities)), media, folders, size)
