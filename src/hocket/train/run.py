"""A whole run: stages in order, each resumed where it stopped.

A run's folder holds ``log.jsonl``, a table of what trains for each stage, ``checkpoints/`` and at
the end ``model/``, the finished checkpoint; ``recipe.yaml`` lies in ``model/`` and each checkpoint.
Starting the same run again goes on from the newest checkpoint that is whole; a finished run is left
as it is.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hocket._env import cache_dir
from hocket._errors import ConfigError
from hocket.checkpoint.directory import write_checkpoint
from hocket.data.decoder import SampleMemory, StepBatches
from hocket.data.loader import Loader
from hocket.data.pack import PackerState
from hocket.data.spec import DataSpec
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.model.packing import isolate_samples
from hocket.tokens.processor import HocketProcessor
from hocket.train.adapt import adapt, pack_weights
from hocket.train.ahead import check_stages
from hocket.train.aside import TowersAside
from hocket.train.features import FeatureJob, idle_towers, use_features
from hocket.train.feed import Feed, prices_of
from hocket.train.final import write_final
from hocket.train.fingerprints import TowerHashes
from hocket.train.finished import is_finished
from hocket.train.grammar import groups_of
from hocket.train.heads import add_heads
from hocket.train.isolation import FOLDER as FEATURES
from hocket.train.isolation import known_proof
from hocket.train.lock import FolderLock
from hocket.train.log import RunLog
from hocket.train.loop import Hook, Hooks, Report, fit
from hocket.train.movement import MovementWatch
from hocket.train.notfinite import NotFinite, is_sound
from hocket.train.observe.debug import DebugSpec
from hocket.train.observe.exams import Exams
from hocket.train.observe.observer import Look, Observer
from hocket.train.observe.preview import Previews
from hocket.train.parallel.deepspeed import with_deepspeed
from hocket.train.parallel.live import Live
from hocket.train.precision import computed_in, with_formats
from hocket.train.preference import FOLDER as REFERENCE
from hocket.train.preference import StageStart, open_objective
from hocket.train.provenance import provenance_of
from hocket.train.recipe import OnNan, Recipe, Stage
from hocket.train.resume import begin_alone, resume, roll_back
from hocket.train.retention import checkpoint_name
from hocket.train.runtime import Runtime
from hocket.train.saver import HostCopy, Saver, state_of
from hocket.train.state import OptimizerTensors, TrainState, read_optimizer, write_state
from hocket.train.stop import RunStoppedError, stop_signals
from hocket.train.trainable import describe_trainable, select_trainable, set_modes, write_table


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
        on_note: called with what the run decided by itself, a sentence.
        on_progress: called with (what, done, all) of work before a stage.
        previews: questions that are asked at each save; None asks none.
        exams: what is asked and scored while training; None for nothing.
        debug: what `--debug` looks at; None for nothing.
    """

    recipe: Recipe
    data: DataSpec
    out: Path
    config_yaml: str = ""
    on_stage: Callable[[str, Stage, list[tuple[str, ...]]], None] | None = None
    on_checkpoint: Callable[[Path], None] | None = None
    on_note: Callable[[str], None] | None = None
    on_progress: Callable[[str, int, int], None] | None = None
    previews: Previews | None = None
    exams: Exams | None = None
    debug: DebugSpec | None = None


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
        ConfigError: the recipe's options contradict each other, or a stage names what is not there.
        TrainingError: the loss is not finite, or too many samples are bad.
        MachineError: the disk is full or read-only.
    """
    run = replace(run, recipe=with_formats(with_deepspeed(run.recipe)))
    if is_finished(run.out, run.recipe, say=run.on_note):
        return run.out / "model"
    check_stages(run.recipe, run.data, model, processor)
    if any(stage.packing for stage in run.recipe.stages.values()):
        # Frozen towers whose features are kept need not run, not even for this.
        kept = known_proof(model, processor, run.recipe.feature_dtype)
        isolate_samples(model, processor, features=kept, compiled=run.recipe.compile_blocks)
    recipe = run.recipe
    runtime = Runtime(
        recipe.sequence_parallel, recipe.sharding, recipe.fsdp, compute_dtype=recipe.compute_dtype
    )
    with FolderLock(run.out, enabled=runtime.is_main) as lock:
        return _train_locked(run, model, processor, hooks, runtime, lock)


def _train_locked(
    run: Run,
    model: HocketForConditionalGeneration,
    processor: HocketProcessor,
    hooks: Sequence[Hook],
    runtime: Runtime,
    lock: FolderLock,
) -> Path:
    """Run or resume every stage in a folder that no other process writes into."""
    known = TowerHashes(cache_dir() / FEATURES).all_known(model)
    names, dtype = list(run.recipe.stages), computed_in(run.recipe)
    folder = run.out / "checkpoints"
    state, at = resume(folder, names, model, processor, towers=known, compute_dtype=dtype)
    state, at = begin_alone(run.recipe, state, at, model, say=run.on_note)
    feed = Feed(
        data=run.data,
        recipe=run.recipe,
        out=run.out,
        processor=processor,
        memory=SampleMemory(processor, cache_mb=run.recipe.cache_mb),
        rank=runtime.data_rank,
        world=runtime.data_world,
    )
    look = Look(previews=run.previews, exams=run.exams, debug=run.debug, config=run.config_yaml)
    with (
        stop_signals() as stop,
        RunLog(run.out / "log.jsonl", enabled=runtime.is_main) as log,
        Saver(keep=run.recipe.keep, before=log.flush, on_saved=run.on_checkpoint) as saver,
        Observer(run.out, run.recipe, look, processor, runtime) as observer,
    ):
        log.cut_after(names, state)
        observer.go_on(state)
        left = [one for one in run.recipe.to_run() if names.index(one) >= names.index(state.stage)]
        feed.check_heads(left, model)
        for name in left:
            if state.stage != name:
                state = TrainState(name, tokens_seen=state.tokens_seen, seconds=state.seconds)
                at = None
            files = _Files(log, saver, at, observer)
            session = _Session(run, name, model, processor, runtime, stop, feed, files)
            state = session.fit(state, [lock.touch, log, observer, *hooks])
            # A stage forks its workers while no thread writes.
            saver.wait()
    # Towers that were left out lie on the CPU; with FSDP all of the model does.
    model.to(model.lm_head.weight.device)
    model.heads = None
    if runtime.is_main:
        notes = provenance_of(run.recipe, run.data, state)
        write_final(run.out, model, processor, config_yaml=run.config_yaml, provenance=notes)
    runtime.wait()
    return run.out / "model"


@dataclass(frozen=True, slots=True)
class _Files:
    """What a stage writes into, the checkpoint it goes on from, and who looks."""

    log: RunLog
    saver: Saver
    at: Path | None
    observer: Observer


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
        files: _Files,
    ) -> None:
        self._run, self._name, self._model, self._processor = run, name, model, processor
        self._began = time.monotonic()
        self._runtime, self._stop, self._feed = runtime, stop, feed
        self._log, self._saver, self._observer = files.log, files.saver, files.observer
        self._weights, self._moments = HostCopy(), HostCopy()
        file = run.out / "bad_batches.jsonl" if runtime.is_main else None
        self._on_nan = NotFinite(run.recipe.on_nan, file)
        self._stage = self._with_steps(run.recipe.stages[name])
        names = list(run.recipe.stages)
        earlier = [run.recipe.stages[one].adapters for one in names[: names.index(name)]]
        self._inherited = set(() if files.at else model.adapters).union(*earlier)
        added = adapt(model, name, self._stage, seed=run.recipe.seed, at=files.at)
        added |= add_heads(model, self._stage, files.at)
        chosen = select_trainable(model, groups_of(self._stage, model), added)
        pack_weights(model, self._stage)
        set_modes(model)
        # Before the optimizer is filled: its tensors must lie where the parameters are.
        left = idle_towers(model, processor, run.recipe, self._stage)
        live = self._live = Live(model, processor, runtime, run.recipe, run.out, left=left)
        self._optimizer = live.optimizer(chosen, betas=run.recipe.betas)
        self._optimizer.register_step_pre_hook(lambda *_: self._saver.wait_for_copy())
        if files.at is not None:
            read_optimizer(files.at, self._optimizer)
        table = describe_trainable(model, chosen, self._stage)
        if runtime.is_main:
            write_table(run.out, name, table)
        if run.on_stage:
            run.on_stage(name, self._stage, table)
        self._observer.open_stage(name, self._stage, live.model, self._optimizer, chosen)
        self._watch = MovementWatch(live.model, chosen, self._stage.steps, run.recipe.monitor_step)
        self._aside = TowersAside(model)

    def fit(self, state: TrainState, hooks: Sequence[Hook]) -> TrainState:
        """Train the stage to its end, saving on the way."""
        recipe, stage, runtime = self._run.recipe, self._stage, self._runtime
        if state.step >= stage.steps:
            return state
        loader = self._loader(state.packer)
        weights = {name: self._run.data.datasets[name].loss_weight for name in stage.data}
        kept = self._run.out / REFERENCE / self._name
        start = StageStart(kept, state.step > 0, self._inherited, runtime)
        objective = open_objective(self._live, stage, weights, self._processor.tokenizer, start)
        self._aside = use_features(self._features(loader, resumed=state.step > 0))
        try:
            return fit(
                runtime.prepare(self._live.model),
                iter(loader),
                self._optimizer,
                objective=objective,
                runtime=runtime,
                state=state,
                seed=recipe.seed,
                hooks=Hooks([*hooks, self._watch], self._not_finite, self._observer, self._keep),
            )
        finally:
            self._aside.bring_back()
            self._live.close()

    def _features(self, loader: Loader, *, resumed: bool) -> FeatureJob:
        run = self._run
        return FeatureJob(
            name=self._name,
            stage=self._stage,
            recipe=run.recipe,
            data=run.data,
            out=run.out,
            model=self._model,
            processor=self._processor,
            loader=loader,
            runtime=self._runtime,
            resumed=resumed,
            in_shares=self._live.in_shares,
            stop=self._stop,
            tell=run.on_note,
            progress=run.on_progress,
        )

    def _with_steps(self, stage: Stage) -> Stage:
        """Return the stage with the steps that its epochs and its warm-up come to."""
        self._stage = stage
        steps = stage.steps
        if not steps:
            if stage.epochs <= 0:
                raise ConfigError(f"stage {self._name!r} has neither steps nor epochs. Give one.")
            steps = math.ceil(stage.epochs * self._loader(None).steps_per_epoch())
        warmup = round(steps * stage.warmup_share) if stage.warmup_share else stage.warmup_steps
        return replace(stage, steps=steps, warmup_steps=warmup)

    def _loader(self, state: PackerState | None) -> Loader:
        prices = prices_of(self._model)
        return self._feed.loader(self._name, self._stage, prices=prices, state=state)

    def _keep(self, state: TrainState, step: StepBatches, report: Report) -> TrainState:
        """Save and examine where that is due; go back if what would be saved is not finite."""
        every = self._run.recipe.save_every
        due = state.step == self._stage.steps or bool(every and state.step % every == 0)
        # Every rank must agree to stop at the same step.
        limit = 60 * self._run.recipe.stop_after_minutes
        asked = bool(self._stop) or (limit > 0 and time.monotonic() - self._began >= limit)
        stopping = bool(self._runtime.sum_over_ranks(float(asked)))
        self._saver.check()
        if due or stopping:
            if not is_sound(self._optimizer, self._runtime):
                before = replace(state, step=state.step - 1)
                return self._go_on(before, step, report.loss, report.grad_norm, spoilt=True)
            self._save(state, stopping=stopping)
        self._examine_when_due(state)
        return state

    def _save(self, state: TrainState, *, stopping: bool) -> None:
        """Write a checkpoint; stop the run behind it if that is asked for."""
        target = self._run.out / "checkpoints" / checkpoint_name(self._name, state.step)
        self._live.gather()
        moments = self._live.moments(self._optimizer)
        if self._runtime.is_main:
            self._write(target, state, moments)
        if not stopping:
            self._ask(state)
        self._observer.saved()
        if stopping:
            self._saver.wait()
        self._runtime.wait()
        if stopping:
            raise RunStoppedError(target, by_hand=signal.SIGINT in self._stop)

    def _examine_when_due(self, state: TrainState) -> None:
        """Let the model sit the exams: in shares in all processes, else in the first one."""
        exams = self._run.exams
        if exams is None or (state.step % exams.every and state.step < self._stage.steps):
            return
        if self._observer.examines and (self._live.in_shares or self._runtime.is_main):
            self._runtime.note("evaluating")
            with self._aside.whole():
                self._observer.examine(state, self._live.model)
        self._runtime.wait()

    def _ask(self, state: TrainState) -> None:
        """Ask the model the previews; in shares every process has a part in that."""
        if self._observer.asks and (self._live.in_shares or self._runtime.is_main):
            self._runtime.note("asking previews")
            with self._aside.whole():
                self._observer.ask(state, self._live.model)

    def _write(self, target: Path, state: TrainState, moments: OptimizerTensors) -> None:
        # The copies of the save before this one are still being written.
        self._saver.wait()
        with self._aside.whole():
            trained, steady = state_of(self._model)
        notes = provenance_of(self._run.recipe, self._run.data, state)
        notes["towers"] = self._aside.hashes

        def fill(folder: Path) -> None:
            weights = steady | self._weights.take(trained)
            copied = moments._replace(tensors=self._moments.take(moments.tensors))
            self._saver.copied()
            write_checkpoint(
                folder,
                self._model,
                self._processor,
                recipe=self._run.config_yaml,
                provenance=notes,
                state=weights,
            )
            write_state(folder, state, copied, weights)

        self._saver.start(target, fill)

    def _not_finite(
        self, state: TrainState, step: StepBatches, loss: float, norm: float
    ) -> TrainState:
        """Do as the recipe says; every rank comes here with the same numbers."""
        spoilt = not is_sound(self._optimizer, self._runtime)
        return self._go_on(state, step, loss, norm, spoilt=spoilt)

    def _go_on(
        self, state: TrainState, step: StepBatches, loss: float, norm: float, *, spoilt: bool
    ) -> TrainState:
        rule = self._on_nan.decide(state, step, loss, norm, spoilt=spoilt)
        if rule is not OnNan.ROLLBACK:
            return replace(state, packer=step.after)
        self._saver.wait()
        self._runtime.wait()
        with self._aside.whole():
            folder = self._run.out / "checkpoints"
            back = roll_back(folder, state.stage, self._model, self._optimizer)
        self._live.scatter()
        self._log.cut_after(list(self._run.recipe.stages), back)
        self._observer.go_on(back)
        # Behind the bad batch: the steps that are done again see other samples.
        return replace(back, packer=step.after)
