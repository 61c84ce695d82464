"""A stage whose towers are frozen takes their features from the disk, where that saves time.

The cache is used for whole modalities or not at all: the tower must be frozen without an adapter,
and no augmentation may change what it sees. Whether it pays is estimated from a few media. While it
is used the towers are put aside, off the device, and come back for checkpoints and the next stage.
"""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from hocket._env import cache_dir
from hocket._errors import ConfigError, HocketError, MachineError
from hocket._log import warn
from hocket.data.augment import Augmenter
from hocket.data.content import ContentHashes
from hocket.data.features import FeatureShards, KnownFeatures, MediaKeys
from hocket.data.featuring import Wanted, build_features, list_media
from hocket.data.loader import Loader
from hocket.data.spec import DataSpec, FeatureDtype
from hocket.data.storing import put_file
from hocket.model.fingerprint import is_frozen
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.model.names import PARTS
from hocket.model.towers import tower_name, tower_widths
from hocket.tokens.processor import HocketProcessor
from hocket.tokens.span import Modality
from hocket.train.aside import TowersAside
from hocket.train.feature_cost import estimate
from hocket.train.fingerprints import TowerHashes
from hocket.train.isolation import FOLDER, keep_proof
from hocket.train.recipe import FeaturePolicy, Recipe, Stage
from hocket.train.runtime import Runtime

RECORD = "features.json"
ROOM = 1.1
"""Free space that must be there, beside what the features take."""


class BuildStoppedError(HocketError):
    """The run was asked to stop while features were built.

    Args:
        what: what was being done.
        done: how much of it is done.
        total: how much of it there is.
        by_hand: whether it was Ctrl-C.
    """

    def __init__(self, what: str, done: int, total: int, *, by_hand: bool) -> None:
        super().__init__(
            f"stopped while {what} for the feature cache, at {done:,} of {total:,}. What is built "
            "is kept: run the same command to go on."
        )
        self.exit_code = 130 if by_hand else 124


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureJob:
    """A stage whose features may come from the disk.

    Attributes:
        name: the stage's name.
        stage: its settings.
        recipe: the run's.
        data: the run's data sets and augmentations.
        out: the run's folder.
        model: the composite, frozen as the stage has it, on its device.
        processor: its processor.
        loader: the stage's samples.
        runtime: this process among those of the run.
        resumed: whether the stage goes on where it stopped.
        in_shares: whether each process holds a share of the weights, so that no tower can be taken
            out.
        stop: the signals that asked the run to stop.
        tell: called with what was decided, a sentence.
        progress: called with (what, done, all).
    """

    name: str
    stage: Stage
    recipe: Recipe
    data: DataSpec
    out: Path
    model: HocketForConditionalGeneration
    processor: HocketProcessor
    loader: Loader
    runtime: Runtime
    resumed: bool = False
    in_shares: bool = False
    stop: Sequence[int] = ()
    tell: Callable[[str], None] | None = None
    progress: Callable[[str, int, int], None] | None = None

    @property
    def policy(self) -> FeaturePolicy:
        """The stage's policy, or the run's."""
        return self.stage.feature_cache or self.recipe.feature_cache

    def say(self, text: str) -> None:
        """Tell what was decided, once for all processes."""
        if self.tell and self.runtime.is_main:
            self.tell(f"feature cache of stage {self.name!r}: {text}")

    def encode(
        self, modality: Modality, inputs: Tensor, spans: Tensor, lengths: Tensor | None
    ) -> Tensor:
        """Run a tower on its device, see `hocket.data.featuring.Encode`."""
        device = self.runtime.device
        tower = self.model.model.get_submodule(tower_name(self.model.config, modality))
        # It may have been left behind, because nobody knew yet whether it is used. What is moved
        # in inference mode could never train.
        with torch.inference_mode(False):
            tower.to(device)
        moved = None if lengths is None else lengths.to(device)
        return self.model.model.encode(modality, inputs.to(device), spans.to(device), moved)


def use_features(job: FeatureJob) -> TowersAside:
    """Let a stage's loader take features from the disk if that is asked for or pays.

    What is missing is built first, by all processes together.

    Raises:
        ConfigError: the policy is ``on``, and no feature of the stage can be kept.
        BuildStoppedError: the run was asked to stop meanwhile.
        MachineError: features cannot be written.
    """
    features = _chosen(job)
    aside = TowersAside(job.model)
    if features is not None:
        complete(job, features)
        job.loader.use(features)
        config, kinds = job.model.config, features.modalities
        others = taken_modalities(job.model, job.processor) - kinds
        left = {tower_name(config, kind) for kind in others}
        hashes = {tower_name(config, kind): one.tower for kind, one in features.shards.items()}
        aside = TowersAside(job.model, sorted(hashes.keys() - left), hashes)
    if not job.in_shares:
        job.model.to(job.runtime.device)
    return aside


def _chosen(job: FeatureJob) -> KnownFeatures | None:
    """Return the features that the stage is to use, or None if it uses none."""
    kinds = frozenset[Modality]()
    if job.policy is not FeaturePolicy.OFF:
        kinds = find_modalities(job)
    if not kinds:
        return None
    try:
        features = open_features(job.model, job.processor, kinds, job.recipe.feature_dtype)
    except MachineError as error:
        if job.policy is FeaturePolicy.ON:
            raise
        job.say(f"not used: {error}")
        return None
    return features if _decide(job, features) else None


def find_modalities(job: FeatureJob) -> frozenset[Modality]:
    """Return the media whose features can be kept, and say why others of frozen towers cannot.

    Raises:
        ConfigError: the policy is ``on``, and a frozen tower's features cannot be kept, or no
            tower is frozen.
    """
    frozen = frozen_modalities(job.model, job.processor)
    augmenter = Augmenter(job.data.augment, seed=job.recipe.seed)
    names = ", ".join(job.data.augment)
    why = ""
    found = frozen - augmenter.changed
    if job.in_shares:
        found, why = frozenset(), "the processes hold shares of the weights"
    elif augmenter.rewrites:
        found, why = frozenset(), f"an augmentation rewrites samples (data.augment: {names})"
    elif found != frozen:
        changed = ", ".join(sorted(frozen - found))
        why = f"augmentations change what the tower sees ({changed}; data.augment: {names})"
    elif not frozen:
        why = "no tower is frozen and without adapters"
    if why and job.policy is FeaturePolicy.ON:
        raise ConfigError(
            f"train.stages.{job.name}: feature_cache is on, but {why}. "
            "Change that, or set feature_cache to auto or off."
        )
    if why and frozen:
        job.say(f"not used for {', '.join(sorted(frozen - found))}: {why}.")
    return found


def taken_modalities(
    model: HocketForConditionalGeneration, processor: HocketProcessor
) -> frozenset[Modality]:
    """Return the media that a model takes."""
    kinds = set(tower_widths(model.config))
    return frozenset(kinds if processor.sampler else kinds - {Modality.VIDEO})


def frozen_modalities(
    model: HocketForConditionalGeneration, processor: HocketProcessor
) -> frozenset[Modality]:
    """Return the media whose tower does not train and has no adapter."""
    adapted = {PARTS[one.spec.part] for one in model.adapters.values()}
    paths = {
        kind: f"model.{tower_name(model.config, kind)}"
        for kind in taken_modalities(model, processor)
    }
    return frozenset(
        kind
        for kind, path in paths.items()
        if path not in adapted and is_frozen(model.get_submodule(path))
    )


def idle_towers(
    model: HocketForConditionalGeneration, processor: HocketProcessor, recipe: Recipe, stage: Stage
) -> list[str]:
    """Return the towers that may not be used at all, because their features may be kept.

    They need not be put on a device before that is decided.
    """
    if (stage.feature_cache or recipe.feature_cache) is FeaturePolicy.OFF:
        return []
    if recipe.sharding.cuts_weights:
        return []
    kinds = frozen_modalities(model, processor)
    return sorted({tower_name(model.config, kind) for kind in kinds})


def open_features(
    model: HocketForConditionalGeneration,
    processor: HocketProcessor,
    kinds: frozenset[Modality],
    dtype: FeatureDtype,
) -> KnownFeatures:
    """Open the features of a model's towers in the cache folder.

    Args:
        model: the composite.
        processor: its processor.
        kinds: modalities.
        dtype: number format.

    Raises:
        MachineError: the folder cannot be made.
    """
    root = cache_dir() / FOLDER
    try:
        root.mkdir(parents=True, exist_ok=True)
        hashes = TowerHashes(root)
        names = {kind: tower_name(model.config, kind) for kind in sorted(kinds)}
        found = {name: hashes.of(model, kind) for kind, name in names.items()}
    except OSError as error:
        raise MachineError(
            f"{root} cannot be written: {error.strerror}. Set HOCKET_CACHE to another folder, "
            "or set train.feature_cache=off."
        ) from error
    towers = {name: FeatureShards(root, one, dtype) for name, one in found.items()}
    shards = {kind: towers[name] for kind, name in names.items()}
    return KnownFeatures(shards, MediaKeys(processor, ContentHashes(root / "contents.sqlite")))


def complete(job: FeatureJob, features: KnownFeatures) -> Wanted:
    """Check what there is of a stage's features and build the rest.

    Returns:
        the media of the stage.

    Raises:
        BuildStoppedError: the run was asked to stop.
        MachineError: features cannot be written, or the processes do not share the folder.
    """
    runtime, began = job.runtime, time.monotonic()
    towers = list({shards.folder: shards for shards in features.shards.values()}.values())
    if runtime.is_main:
        for shards in towers:
            shards.verify(partial(_advance, job, "checking features"))
            shards.clean()
    runtime.wait()
    for shards in towers:
        shards.refresh()
    wanted = list_media(job.loader, features, advance=partial(_advance, job, "looking at media"))
    missing = {
        key: place
        for kind, places in wanted.places.items()
        for key, place in places.items()
        if key not in features.shards[kind]
    }
    mine = dict(list(missing.items())[runtime.rank :: runtime.world])
    built = build_features(
        job.loader,
        job.processor,
        features,
        mine,
        job.encode,
        workers=job.recipe.workers,
        advance=partial(_advance, job, "building features"),
    )
    if runtime.is_main:
        keep_proof(features, job.processor, job.encode)
    runtime.wait()
    for shards in towers:
        shards.refresh()
    for failure in built.failures[:1]:
        warn(f"{len(built.failures)} media have no features, the first: {failure}")
    failed = int(runtime.sum_over_processes(len(built.failures)))
    absent = features.missing(wanted.places)
    if sum(map(len, absent.values())) > failed:
        raise MachineError(
            f"processes of this run do not see each other's features in {cache_dir() / FOLDER}. "
            "Set HOCKET_CACHE to a folder that all share, or set train.feature_cache=off."
        )
    total = sum(map(len, wanted.places.values()))
    seconds = time.monotonic() - began
    done = f"{len(missing) - failed:,} built in {seconds:,.0f} s" if missing else "all were there"
    job.say(f"used for {', '.join(sorted(features.modalities))}, {total:,} media, {done}.")
    return wanted


def _decide(job: FeatureJob, features: KnownFeatures) -> bool:
    """Return whether the stage uses the cache; what a stage began with it goes on with."""
    if job.policy is FeaturePolicy.ON:
        return True
    record = _read_record(job.out / RECORD)
    if job.resumed:
        return record.get(job.name, False)
    chosen = job.runtime.is_main and _pays(job, features)
    chosen = bool(job.runtime.sum_over_processes(float(chosen)))
    if job.runtime.is_main:
        text = json.dumps(record | {job.name: chosen}, indent=1)
        job.out.mkdir(parents=True, exist_ok=True)
        put_file(job.out / RECORD, lambda place: place.write_text(text, "utf-8"))
    return chosen


def _pays(job: FeatureJob, features: KnownFeatures) -> bool:
    try:
        found = estimate(
            job.loader,
            job.processor,
            features,
            job.encode,
            steps=job.stage.steps,
            workers=job.recipe.workers,
            world=job.runtime.world,
        )
    except MachineError as error:
        job.say(f"not used: {error}")
        return False
    if found is None:
        return False
    room = shutil.disk_usage(cache_dir()).free
    if found.pays and found.disk_bytes * ROOM > room:
        job.say(f"not used, {found.told()}, but {cache_dir()} has {room / 1e9:.2g} GB free.")
        return False
    if not found.pays:
        job.say(f"not used, {found.told()}.")
    else:
        job.say(f"{found.told()}.")
    return found.pays


def _read_record(file: Path) -> dict[str, bool]:
    """Return stage -> whether it began with the cache."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file}, which says what stages began with the feature cache, is damaged. "
            "Set train.feature_cache=on or off to what it was, and delete the file."
        ) from error
    return {str(name): bool(used) for name, used in found.items()}


def _advance(job: FeatureJob, what: str, done: int, total: int) -> None:
    if job.stop:
        raise BuildStoppedError(what, done, total, by_hand=signal.SIGINT in job.stop)
    if job.progress and job.runtime.is_main:
        job.progress(what, done, total)
