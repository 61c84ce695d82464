"""Optimizer steps as batches: order, packing, decoding in workers, exact state.

The main process plans (order, token counts, rows) from headers alone; workers decode and batch the
rows of this rank. The plan carries the state that follows it, so what a worker has prefetched
never shows in a checkpoint, and any number of workers gives the same batches.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from hocket._errors import ConfigError, DataError, HocketError, TrainingError
from hocket._log import warn
from hocket.chat.conversation import Conversation
from hocket.data.augment import Augmenter
from hocket.data.balance import EQUAL, Prices, share_out
from hocket.data.budget import UNCUT, Budget, Cuts
from hocket.data.decoder import Decoder, SampleMemory, StepBatches, StepPlan
from hocket.data.faults import BadSamples, FaultPolicy
from hocket.data.group import Grouper, share_alike
from hocket.data.mixture import Mixture, SampleRef
from hocket.data.pack import Measured, Packer, PackerState
from hocket.data.row_labels import LabelKey
from hocket.data.spec import Overlong
from hocket.data.truncate import OverlongError
from hocket.data.workers import loaded
from hocket.tokens.cutter import FeatureSource
from hocket.tokens.example import Cost, Outline
from hocket.tokens.processor import HocketProcessor


@dataclass(frozen=True, slots=True, kw_only=True)
class StepShape:
    """How an optimizer step is cut.

    Attributes:
        rows: rows of the global step.
        tokens_per_row: length of a row.
        patches_per_row: patches of the vision tower that a row may need; 0 for no limit.
        audio_frames_per_row: encoder frames of sound that a row may need; 0 for no limit.
        overlong: what happens to samples that one row cannot hold.
        prices: what media cost beside tokens when the rows are shared out.
        accumulate: micro-batches per step.
        pool: samples the packer may look ahead.
        rank: this process.
        world: processes.
        pairs: whether each row of the data holds a chosen and a rejected answer.
        packed: whether samples share rows; else each has its own, beside others of its cost.
        labels: where rows of the data hold the classes of their media.
    """

    rows: int
    tokens_per_row: int
    patches_per_row: int = 0
    audio_frames_per_row: int = 0
    overlong: Overlong = Overlong.FIT
    prices: Prices = EQUAL
    accumulate: int = 1
    pool: int = 64
    rank: int = 0
    world: int = 1
    pairs: bool = False
    packed: bool = True
    labels: tuple[LabelKey, ...] = ()

    def __post_init__(self) -> None:
        """Check that ranks and micro-batches divide the rows."""
        parts = self.world * self.accumulate
        if self.rows % parts:
            raise TrainingError(
                f"{self.rows} rows per step cannot be shared by {self.world} processes x "
                f"{self.accumulate} micro-batches. Set rows to a multiple of {parts}."
            )

    @property
    def budget(self) -> Budget:
        """The most that a row may cost."""
        return Budget(self.tokens_per_row, self.patches_per_row, self.audio_frames_per_row)


class Loader:
    """Yields the batches of each optimizer step of a stage.

    Args:
        mixture: samples in order.
        processor: turns conversations into examples.
        shape: how a step is cut.
        augmenter: augmentations of training media.
        workers: decoding processes; 0 decodes here.
        memory: outlines and decoded media of earlier stages; None starts without.
        state: where to go on.
        faults: what happens to samples that cannot be used.

    Raises:
        ConfigError: an augmentation rewrites conversations that are pairs, or the state belongs
            to another order of the samples.
    """

    def __init__(
        self,
        mixture: Mixture,
        processor: HocketProcessor,
        *,
        shape: StepShape,
        augmenter: Augmenter,
        workers: int = 0,
        memory: SampleMemory | None = None,
        state: PackerState | None = None,
        faults: FaultPolicy | None = None,
    ) -> None:
        if shape.pairs and augmenter.rewrites:
            raise ConfigError(
                "data.augment rewrites conversations, which would part a chosen answer from its "
                "rejected one. Leave out what changes texts in a run with 'preference'."
            )
        self._mixture = mixture
        self._shape = shape
        self._workers = workers
        self._faults = BadSamples(faults or FaultPolicy())
        memory = memory or SampleMemory(processor, cache_mb=0)
        lost = self._faults.lost
        self._decoder = Decoder(
            mixture,
            processor,
            augmenter,
            memory,
            shape.budget,
            shape.overlong,
            lost,
            pairs=shape.pairs,
        )
        self._decoder.labels = shape.labels
        self._start = _same_order(state or PackerState(), mixture.stamp())
        self._bad = self._start.bad
        self._unused = 0
        self._told = self._start.cuts != UNCUT

    def __iter__(self) -> Iterator[StepBatches]:
        plans = _Plans(self)
        with _settled():
            yield from self._steps(
                loaded(self._decoder, plans, workers=self._workers, at_start=_settle)
            )

    def _steps(self, loader: Iterable[StepBatches]) -> Iterator[StepBatches]:
        """Yield what is loaded, and keep count of what was left out."""
        dropped = self._start.dropped
        # Raised here: the `DataLoader` would bury an error of a worker in a traceback.
        for step in loader:
            for bad in step.dropped:
                self._faults.add(bad)
            dropped += len(step.dropped)
            after = step.after
            taken = after.cursor - after.bad - after.cuts.skipped - len(after.pool)
            if step.dropped:
                self._faults.check(dropped, taken // self._shape.world)
            if len(step.micro) < self._shape.accumulate:
                last = step.dropped[-1].reason
                raise TrainingError(f"no sample of a batch could be decoded: {last}")
            yield replace(step, after=step.after._replace(dropped=dropped))

    def plans(self) -> Iterator[StepPlan]:
        """Yield the plan of every step from the start state on, for ever."""
        shape = self._shape
        packer, share = self._packer(), share_out if shape.packed else share_alike
        while True:
            rows = [packer.next_row() for _ in range(shape.rows)]
            prices = [shape.prices.of(row.cost) for row in rows]
            shares = share(prices, world=shape.world, accumulate=shape.accumulate)
            micro = tuple(tuple(rows[at] for at in batch) for batch in shares[shape.rank])
            total = functools.reduce(Cost.__add__, (row.cost for row in rows))
            fill = shape.budget.shares(total, rows=shape.rows)
            yield StepPlan(micro, packer.state, fill)

    def _packer(self) -> Packer:
        shape, start = self._shape, self._start
        if shape.packed:
            return Packer(self._measure, budget=shape.budget, pool=shape.pool, state=start)
        return Grouper(
            self._measure,
            budget=shape.budget,
            pool=shape.pool,
            rows=shape.rows,
            prices=shape.prices,
            state=start,
        )

    @property
    def mixture(self) -> Mixture:
        """The samples in order."""
        return self._mixture

    def sample(self, ref: SampleRef) -> tuple[Conversation, Outline]:
        """Return a sample as its row holds it, nothing decoded.

        Raises:
            HocketError: it cannot be used.
        """
        found = self._decoder.sample(ref)
        return found.conversation, found.outline

    def use(self, features: FeatureSource) -> None:
        """Take what frozen towers made of media in place of decoding them."""
        self._decoder.features = features

    def steps_per_epoch(self, samples: int = 512) -> float:
        """Return about how many steps an epoch has, from the first samples of its order.

        Raises:
            DataError: none of them can be used.
        """
        taken = range(min(samples, len(self._mixture)))
        tokens = [self._tokens(position) for position in taken]
        usable = [count for count in tokens if count]
        if not usable:
            raise DataError(f"none of the first {len(taken)} samples can be used. Mend the data.")
        if not self._shape.packed:
            return len(usable) / len(taken) * len(self._mixture) / self._shape.rows
        whole = sum(usable) / len(taken) * len(self._mixture)
        return whole / (self._shape.rows * self._shape.tokens_per_row)

    def _tokens(self, position: int) -> int:
        try:
            return self._decoder.known(self._mixture.ref(position)).cost.tokens
        except HocketError:
            return 0  # told and counted when it is its turn

    def _measure(self, position: int) -> Measured:
        """Return what a sample costs and what had to be cut, or that it cannot be used."""
        try:
            known = self._decoder.known(self._mixture.ref(position))
        except OverlongError as error:
            return self._leave_out(error)
        except HocketError as error:
            self._count_bad(error, position)
            return self._unusable(Measured(None), error)
        self._unused = 0
        cuts = known.cut.cuts if known.cut else UNCUT
        if known.cut:
            what = cuts._replace(samples=0).told()
            self._tell(f"{known.outline.source} is cut to fit its row ({what})")
        return Measured(known.cost, cuts)

    def _leave_out(self, error: OverlongError) -> Measured:
        if self._shape.overlong is Overlong.STOP:
            raise error
        self._tell(f"sample left out: {error}")
        return self._unusable(Measured(None, Cuts(skipped=1)), error)

    def _tell(self, text: str) -> None:
        """Name the first sample that is cut or too long; the others are counted."""
        if not self._told and self._shape.rank == 0:
            warn(f"{text}. Others like it are counted.")
        self._told = True

    def _unusable(self, found: Measured, error: HocketError) -> Measured:
        self._unused += 1
        if self._unused > len(self._mixture):
            raise DataError(f"no sample of a whole epoch can be used; the last: {error}")
        return found

    def _count_bad(self, error: HocketError, position: int) -> None:
        warn(f"sample left out: {error}")
        self._bad += 1
        self._faults.add(self._decoder.bad_sample(position, error))
        self._faults.check(self._bad, position + 1)


def _settle(_: int = 0) -> None:
    """Keep what is there by now out of every search for garbage.

    Libraries, rows and tokenizer are a million objects: to look through them takes 0.17 s, again
    and again, and in a worker it copies every page that it shares with its parent.
    """
    gc.collect()
    gc.freeze()


@contextmanager
def _settled() -> Iterator[None]:
    """`_settle` for as long as batches are asked for."""
    _settle()
    try:
        yield
    finally:
        gc.unfreeze()


def _same_order(state: PackerState, stamp: str) -> PackerState:
    """Return where to go on, having checked that its positions are those of this mixture.

    Raises:
        ConfigError: they are positions of another one.
    """
    if state.order not in ("", stamp):
        raise ConfigError(
            "the order of the samples is not that of the saved run: its seed, its data sets, their "
            "weights or rows, or data.quarantine changed.\nGo on with what the run was started "
            "with, or start into another folder with out=FOLDER."
        )
    return state._replace(order=stamp)


class _Plans:
    """Hands step plans to the `DataLoader` as if they were indices."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[StepPlan]:
        return self._loader.plans()
