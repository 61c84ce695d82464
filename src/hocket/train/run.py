"""A whole run: stages in order, each resumed where it stopped.

A run's folder holds ``recipe.yaml``, ``log.jsonl``, ``checkpoints/`` while it trains and
``model/``, the finished checkpoint. Starting the same run again goes on from the newest checkpoint
that is whole; a finished run is left as it is.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from hocket._errors import CheckpointError, ConfigError, HocketError
from hocket._log import warn
from hocket.checkpoint.directory import Loaded, load_checkpoint, write_checkpoint
from hocket.checkpoint.manifest import verify_directory, write_directory
from hocket.checkpoint.tools.certificate import write_certificate
from hocket.data.decoder import SampleMemory
from hocket.data.loader import Loader
from hocket.data.pack import PackerState
from hocket.data.spec import DataSpec
from hocket.model.adapters.attach import merge
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.model.packing import packed_matches_unpacked
from hocket.tokens.processor import HocketProcessor
from hocket.train.adapt import adapt, finish_adapters
from hocket.train.feed import Feed, prices_of
from hocket.train.grammar import groups_of
from hocket.train.log import RunLog
from hocket.train.loop import Hook, Report, fit
from hocket.train.movement import MovementWatch
from hocket.train.objective import Objective, loss_options
from hocket.train.optim import build_optimizer
from hocket.train.recipe import Recipe, Stage
from hocket.train.retention import checkpoint_name, checkpoints_of, delete_old
from hocket.train.runtime import Runtime
from hocket.train.state import TrainState, read_optimizer, read_state, write_state
from hocket.train.trainable import describe_trainable, select_trainable, set_modes


class RunStoppedError(HocketError):
    """The run was asked to stop and has saved a checkpoint.

    Its exit code is 130 behind Ctrl-C, and 124 when a scheduler or the clock asked: that code tells
    ``hocket launch`` to queue the run again.

    Args:
        checkpoint: where the run goes on.
        by_hand: whether it was Ctrl-C.
    """

    exit_code = 130

    def __init__(self, checkpoint: Path, *, by_hand: bool) -> None:
        super().__init__(f"stopped and saved {checkpoint}. Run the same command to go on.")
        self.checkpoint = checkpoint
        self.exit_code = 130 if by_hand else 124


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything a run needs.

    Attributes:
        recipe: stages and their settings.
        data: data sets and augmentations.
        out: the run's folder.
        config_yaml: the resolved configuration, saved beside the weights.
        on_stage: called with a stage's name, the stage and the table of what trains.
        on_checkpoint: called with each checkpoint written.
    """

    recipe: Recipe
    data: DataSpec
    out: Path
    config_yaml: str = ""
    on_stage: Callable[[str, Stage, list[tuple[str, ...]]], None] | None = None
    on_checkpoint: Callable[[Path], None] | None = None


def train(
    run: Run,
    model: HocketForConditionalGeneration,
    processor: HocketProcessor,
    hooks: Sequence[Hook] = (),
) -> Path:
    """Run or resume every stage and return the finished checkpoint directory.

    Args:
        run: what to do.
        model: the composite with its starting weights; a resumed run replaces them.
        processor: its processor.
        hooks: called after every optimizer step.

    Raises:
        RunStoppedError: a signal came or the time is up; a checkpoint was written.
        TrainingError: the loss is not finite, or too many samples are bad.
        MachineError: the disk is full or read-only.
    """
    finished = run.out / "model"
    if (finished / "config.json").exists():
        verify_directory(finished, hashes=False)
        return finished
    packed_matches_unpacked(model, processor)
    runtime = Runtime()
    state, at = _resume(run, model, processor)
    names = list(run.recipe.stages)
    feed = Feed(
        data=run.data,
        recipe=run.recipe,
        out=run.out,
        processor=processor,
        memory=SampleMemory(processor, cache_mb=run.recipe.cache_mb),
        rank=runtime.rank,
        world=runtime.world,
    )
    with _stop_signals() as stop, RunLog(run.out / "log.jsonl", enabled=runtime.is_main) as log:
        log.cut_after(names, state)
        for number, name in enumerate(names):
            if number < names.index(state.stage):
                continue
            if state.stage != name:
                state = TrainState(name, tokens_seen=state.tokens_seen, seconds=state.seconds)
                at = None
            session = _Session(run, name, model, processor, runtime, stop, feed, at)
            state = session.fit(state, [log, *hooks])
    if runtime.is_main:
        finish_adapters(model, run.out)
        _write_final(run, model, processor, state)
    runtime.wait()
    return finished


class _Session:
    """One stage of one run in this process."""

    def __init__(
        self,
        run: Run,
        name: str,
        model: HocketForConditionalGeneration,
        processor: HocketProcessor,
        runtime: Runtime,
        stop: Sequence[int],
        feed: Feed,
        at: Path | None,
    ) -> None:
        self._run, self._name, self._model, self._processor = run, name, model, processor
        self._began = time.monotonic()
        self._runtime, self._stop, self._feed = runtime, stop, feed
        self._stage = self._with_steps(run.recipe.stages[name])
        adapters = adapt(model, name, self._stage, seed=run.recipe.seed, at=at)
        chosen = select_trainable(model, groups_of(self._stage, model), adapters)
        set_modes(model)
        # Before the optimizer is filled: its tensors must lie where the parameters are.
        model.to(runtime.device)
        self._optimizer = build_optimizer(model, chosen, betas=run.recipe.betas)
        if at is not None:
            read_optimizer(at, self._optimizer)
        if run.on_stage:
            run.on_stage(name, self._stage, describe_trainable(model, chosen))
        self._watch = MovementWatch(model, chosen, after_steps=run.recipe.monitor_step)

    def fit(self, state: TrainState, hooks: Sequence[Hook]) -> TrainState:
        """Train the stage to its end, saving on the way."""
        recipe, stage, runtime = self._run.recipe, self._stage, self._runtime
        if state.step >= stage.steps:
            return state
        loader = self._loader(state.packer)
        weights = {name: self._run.data.datasets[name].loss_weight for name in stage.data}
        self._model.loss_options = loss_options(stage.loss, self._processor.tokenizer)
        return fit(
            runtime.prepare(self._model),
            iter(loader),
            self._optimizer,
            objective=Objective(stage, weights, self._processor.tokenizer),
            runtime=runtime,
            state=state,
            seed=recipe.seed,
            hooks=[*hooks, self._watch, self._save_when_due],
        )

    def _with_steps(self, stage: Stage) -> Stage:
        """Return the stage with the steps that its epochs need, where it names none."""
        self._stage = stage
        if stage.steps:
            return stage
        if stage.epochs <= 0:
            raise ConfigError(f"stage {self._name!r} has neither steps nor epochs. Give one.")
        return replace(stage, steps=math.ceil(stage.epochs * self._loader(None).steps_per_epoch()))

    def _loader(self, state: PackerState | None) -> Loader:
        return self._feed.loader(
            self._name, self._stage, prices=prices_of(self._model), state=state
        )

    def _save_when_due(self, state: TrainState, report: Report) -> None:
        every = self._run.recipe.save_every
        due = state.step == self._stage.steps or bool(every and state.step % every == 0)
        # Every rank must agree to stop at the same step.
        limit = 60 * self._run.recipe.stop_after_minutes
        asked = bool(self._stop) or (limit > 0 and time.monotonic() - self._began >= limit)
        stopping = bool(self._runtime.sum_over_ranks(float(asked)))
        if not (due or stopping):
            return
        target = self._run.out / "checkpoints" / checkpoint_name(self._name, state.step)
        if self._runtime.is_main:
            self._write(target, state)
        self._runtime.wait()
        if stopping:
            raise RunStoppedError(target, by_hand=signal.SIGINT in self._stop)

    def _write(self, target: Path, state: TrainState) -> None:
        def fill(folder: Path) -> None:
            write_checkpoint(
                folder,
                self._model,
                self._processor,
                recipe=self._run.config_yaml,
                provenance=_provenance(self._run, state),
            )
            write_state(folder, state, self._optimizer)

        write_directory(target, fill)
        delete_old(target.parent, keep=self._run.recipe.keep, newest=target)
        if self._run.on_checkpoint:
            self._run.on_checkpoint(target)


def _resume(
    run: Run, model: HocketForConditionalGeneration, processor: HocketProcessor
) -> tuple[TrainState, Path | None]:
    """Load the newest whole checkpoint into the model; a damaged one is skipped with a line."""
    names = list(run.recipe.stages)
    if not names:
        raise ConfigError("train.stages is empty: a run needs at least one stage.")
    for folder in checkpoints_of(run.out / "checkpoints"):
        try:
            verify_directory(folder)
            state = read_state(folder)
            loaded = load_checkpoint(folder, adapters=False)
        except CheckpointError as error:
            warn(f"checkpoint skipped: {error}")
            continue
        if state.stage not in names:
            raise CheckpointError(
                f"{folder} belongs to stage {state.stage!r}, but the recipe has "
                f"{', '.join(names)}. Start into another folder with out=FOLDER."
            )
        if model.adapters:
            # Those of the starting point: the checkpoint says which there are by now.
            merge(model, model.adapters, list(model.adapters))
        _check_same(folder, loaded, model, processor)
        model.load_state_dict(loaded.model.state_dict(), strict=True)
        return state, folder
    return TrainState(names[0]), None


def _check_same(
    folder: Path,
    loaded: Loaded,
    model: HocketForConditionalGeneration,
    processor: HocketProcessor,
) -> None:
    """Compare what a checkpoint holds with what the config and the data make now.

    Raises:
        CheckpointError: the model, the layouts or the tokenizer are others.
    """
    # A token of another number would go on unseen: the sizes may well be the same.
    vocabularies = [one.tokenizer.get_vocab() for one in (loaded.processor, processor)]
    shapes = [
        {name: value.shape for name, value in one.state_dict().items()}
        for one in (loaded.model, model)
    ]
    found = {
        "tokenizer": vocabularies[0] != vocabularies[1],
        "layouts": loaded.processor.to_dict() != processor.to_dict(),
        "model": shapes[0] != shapes[1],
    }
    for name, differs in found.items():
        if differs:
            raise CheckpointError(
                f"{folder}: its {name} differs from what the config and the data make now. "
                "Undo the change, or start into another folder with out=FOLDER."
            )


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGUSR1 in a list; a second SIGINT stops at once."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.signal(number, note) for number in watched}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write_final(
    run: Run,
    model: HocketForConditionalGeneration,
    processor: HocketProcessor,
    state: TrainState,
) -> None:
    model.eval()

    def fill(folder: Path) -> None:
        write_checkpoint(
            folder,
            model,
            processor,
            recipe=run.config_yaml,
            provenance=_provenance(run, state),
        )
        write_certificate(folder, model, processor)

    write_directory(run.out / "model", fill)


def _provenance(run: Run, state: TrainState) -> dict[str, Any]:
    return {
        "stage": state.stage,
        "step": state.step,
        "tokens_seen": state.tokens_seen,
        "seconds": round(state.seconds, 1),
        "init_from": run.recipe.init_from,
        "datasets": {name: spec.path for name, spec in run.data.datasets.items()},
        "torch": torch.__version__,
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
