"""The data of a run's stages: which rows, cut into which steps, for which process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from hocket._errors import ConfigError, UnknownNameError
from hocket.data.augment import USUAL_RATE, Augmenter
from hocket.data.balance import Prices
from hocket.data.decoder import SampleMemory
from hocket.data.faults import FaultPolicy
from hocket.data.loader import Loader, StepShape
from hocket.data.mixture import Mixture, open_source
from hocket.data.pack import PackerState
from hocket.data.row_labels import any_row_has
from hocket.data.spec import DataSpec
from hocket.media.guard import Guard
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.processor import HocketProcessor
from hocket.train.features import taken_modalities
from hocket.train.heads import check_heads, label_keys
from hocket.train.recipe import Recipe, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Opens the loaders of a run.

    Attributes:
        data: its data sets.
        recipe: its stages.
        out: its folder, which gets the list of bad samples.
        processor: turns conversations into examples.
        memory: outlines and decoded media, kept across stages.
        rank: this process.
        world: processes.
    """

    data: DataSpec
    recipe: Recipe
    out: Path
    processor: HocketProcessor
    memory: SampleMemory
    rank: int
    world: int

    def loader(
        self, name: str, stage: Stage, *, prices: Prices, state: PackerState | None = None
    ) -> Loader:
        """Open the loader of a stage.

        Args:
            name: the stage's name.
            stage: its settings.
            prices: what media cost beside tokens.
            state: where to go on.

        Raises:
            UnknownNameError: the stage names a data set that is not there.
            DataError: a data file cannot be read.
        """
        sounds = self.processor.sounds
        return Loader(
            self._mixture(stage),
            self.processor,
            shape=StepShape(
                rows=stage.rows,
                tokens_per_row=stage.tokens_per_row,
                patches_per_row=stage.patches_per_row,
                audio_frames_per_row=stage.audio_frames_per_row,
                overlong=self.data.overlong,
                prices=prices,
                accumulate=stage.accumulate,
                pool=self.recipe.pool,
                rank=self.rank,
                world=self.world,
                pairs=stage.preference is not None,
                packed=stage.packing,
                labels=label_keys(stage.loss),
            ),
            augmenter=Augmenter(
                self.data.augment,
                seed=self.recipe.seed,
                rate=sounds.rate if sounds else USUAL_RATE,
            ),
            workers=self.recipe.workers,
            memory=self.memory,
            state=state,
            faults=self._faults(name),
        )

    def check_heads(self, names: Sequence[str], model: HocketForConditionalGeneration) -> None:
        """Check the heads of stages against the model and the rows of their data.

        Raises:
            ConfigError: an option is out of its range, the model does not take a head's media, or
                no row of the stage's data has its label.
        """
        for name in names:
            stage = self.recipe.stages[name]
            check_heads(name, stage.loss, taken_modalities(model, self.processor))
            sources = self._mixture(stage).sources if stage.loss.heads else {}
            for head, spec in stage.loss.heads.items():
                if not any_row_has(sources, spec.label):
                    raise ConfigError(
                        f"stage {name!r}: loss.heads.{head}.label is {spec.label!r}, but no row of "
                        f"{', '.join(sources)} has that key. Add it to the rows, or correct it."
                    )

    def _mixture(self, stage: Stage) -> Mixture:
        parts = {}
        deadline = self.data.decode_deadline_seconds
        guard = Guard(deadline_seconds=deadline) if deadline else None
        for name, weight in stage.data.items():
            if name not in self.data.datasets:
                raise UnknownNameError("data set", name, self.data.datasets)
            spec = self.data.datasets[name]
            rows = open_source(name, spec, quarantine=self.data.quarantine, guard=guard)
            parts[name] = (rows, weight * spec.weight)
        return Mixture(parts, seed=self.recipe.seed, temperature=self.data.temperature)

    def _faults(self, stage: str) -> FaultPolicy:
        """Return what happens to bad samples; each rank has a list of its own."""
        listed = f"bad_samples.{self.rank}.jsonl" if self.rank else "bad_samples.jsonl"
        rules = {name: spec.on_bad for name, spec in self.data.datasets.items()}
        return FaultPolicy(
            max_bad_share=self.data.max_bad_share,
            on_bad=self.data.on_bad,
            by_dataset={name: rule for name, rule in rules.items() if rule is not None},
            file=self.out / listed,
            stage=stage,
        )


def prices_of(model: nn.Module) -> Prices:
    """Return what media cost beside tokens: a tower's parameters over the language model's."""
    counts = {"language_model": 0, "vision_tower": 0, "audio_tower": 0}
    for name, parameter in model.named_parameters():
        part = name.split(".")[1]
        if part in counts:
            counts[part] += parameter.numel()
    words = max(counts["language_model"], 1)
    return Prices(patch=counts["vision_tower"] / words, audio_frame=counts["audio_tower"] / words)
