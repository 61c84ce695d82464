"""Optimizer steps as batches: order, packing, decoding in workers, exact state.

The main process plans (order, token counts, rows) from headers alone; workers decode and batch the
rows of this rank. The plan carries the state that follows it, so what a worker has prefetched
never shows in a checkpoint, and any number of workers gives the same batches.
"""

from __future__ import annotations

import functools
import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from hocket._errors import DataError, HocketError, TrainingError
from hocket._log import warn
from hocket.chat.conversation import Conversation
from hocket.chat.validate import check_conversation
from hocket.data.augment import Augmenter, BoundAugmenter
from hocket.data.balance import EQUAL, Prices, share_out
from hocket.data.budget import UNCUT, Budget, Cuts
from hocket.data.cache import DecodedMedia
from hocket.data.chosen import row_number
from hocket.data.faults import BadSample, BadSamples, FaultPolicy
from hocket.data.mixture import Mixture, SampleRef
from hocket.data.pack import Measured, Packer, PackerState, Row
from hocket.data.spec import Overlong
from hocket.data.truncate import Fitted, OverlongError, fit
from hocket.media.guard import LostDecoderError
from hocket.tokens.batch import Batch, pack_batch
from hocket.tokens.example import Cost, Example, Outline
from hocket.tokens.processor import HocketProcessor

REMEMBERED_OUTLINES = 20_000
MEDIA = ("medium/text", "medium/vision", "medium/audio", "medium/both")
"""What a sample holds beside text: nothing, pictures or videos, sounds, or both."""


@dataclass(frozen=True, slots=True)
class StepPlan:
    """The rows of one optimizer step that this rank computes, and the state behind it.

    Attributes:
        micro: rows of each micro-batch.
        after: state of the packer behind this step.
        fill: share of each limit that the rows of all ranks use, by name.
    """

    micro: tuple[tuple[Row, ...], ...]
    after: PackerState
    fill: dict[str, float]


class SampleNote(NamedTuple):
    """What a sample is, for the loss.

    Attributes:
        source: its data set.
        medium: one of `MEDIA`.
        weight: how much the row says that its tokens count.
    """

    source: str
    medium: str
    weight: float


@dataclass(frozen=True, slots=True)
class StepBatches:
    """The batches of one optimizer step on this rank.

    Attributes:
        micro: one batch per micro-step.
        after: state of the packer behind this step.
        samples: ids and sources of every sample, for messages.
        tokens: real positions in this rank's rows.
        padding: padded positions in this rank's rows.
        dropped: what was left out of the rows, and why.
        fill: share of each limit that the rows of all ranks use, by name.
        notes: what each sample of each micro-batch is, in the order of its ``sample_index``.
    """

    micro: list[Batch]
    after: PackerState
    samples: list[str]
    tokens: int
    padding: int
    dropped: list[BadSample]
    fill: dict[str, float] = field(default_factory=dict)
    notes: list[list[SampleNote]] = field(default_factory=list)


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


class _Known(NamedTuple):
    """Tokens and plans of a sample, and the rest of it where it was cut."""

    outline: Outline
    cut: Fitted | None


_Key = tuple[str, int, int, Budget]


class SampleMemory:
    """What was learned about samples and need not be learned again, kept across stages.

    Args:
        processor: its audio layout says at which rate sounds are kept.
        cache_mb: memory for decoded media, in megabytes.
    """

    def __init__(self, processor: HocketProcessor, *, cache_mb: int) -> None:
        rate = processor.sounds.rate if processor.sounds else None
        resampler = processor.sounds.resampler if processor.sounds else "soxr"
        mix = processor.media.mix
        self.media = DecodedMedia(megabytes=cache_mb, rate=rate, resampler=resampler, mix=mix)
        self.outlines: OrderedDict[_Key, _Known] = OrderedDict()


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
        self._mixture = mixture
        self._shape = shape
        self._workers = workers
        self._faults = BadSamples(faults or FaultPolicy())
        memory = memory or SampleMemory(processor, cache_mb=0)
        self._decoder = _Decoder(mixture, processor, augmenter, memory, shape, self._faults.lost)
        self._start = state or PackerState()
        self._bad = self._start.bad
        self._unused = 0
        self._told = self._start.cuts != UNCUT

    def __iter__(self) -> Iterator[StepBatches]:
        loader = DataLoader(
            self._decoder,
            batch_size=None,
            sampler=_Plans(self),
            num_workers=self._workers,
        )
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
        packer = Packer(self._measure, budget=shape.budget, pool=shape.pool, state=self._start)
        while True:
            rows = [packer.next_row() for _ in range(shape.rows)]
            prices = [shape.prices.of(row.cost) for row in rows]
            shares = share_out(prices, world=shape.world, accumulate=shape.accumulate)
            micro = tuple(tuple(rows[at] for at in batch) for batch in shares[shape.rank])
            total = functools.reduce(Cost.__add__, (row.cost for row in rows))
            fill = shape.budget.shares(total, rows=shape.rows)
            yield StepPlan(micro, packer.state, fill)

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
        whole = sum(usable) / len(taken) * len(self._mixture)
        return whole / (self._shape.rows * self._shape.tokens_per_row)

    def _tokens(self, position: int) -> int:
        try:
            return self._decoder.known(self._mixture.ref(position)).outline.cost.tokens
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
        return Measured(known.outline.cost, cuts)

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


class _Plans:
    """Hands step plans to the `DataLoader` as if they were indices."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[StepPlan]:
        return self._loader.plans()


class _Decoder(Dataset[StepBatches]):
    """Turns a step plan into batches; runs in the workers."""

    def __init__(
        self,
        mixture: Mixture,
        processor: HocketProcessor,
        augmenter: Augmenter,
        memory: SampleMemory,
        shape: StepShape,
        lost: Mapping[int, str],
    ) -> None:
        self._lost = lost
        self._budget = shape.budget
        self._cuts = shape.overlong is Overlong.FIT
        self._mixture = mixture
        self._processor = processor
        self._augmenter = augmenter
        self._media = memory.media
        self._outlines = memory.outlines

    def known(self, ref: SampleRef) -> _Known:
        """Return tokens and plans of a sample; headers are read, nothing is decoded.

        Raises:
            OverlongError: it does not fit its row and may not, or cannot, be cut.
            HocketError: it cannot be used.
        """
        # A rewritten sample has other tokens in another epoch, and a stage other rows.
        epoch = ref.epoch if self._augmenter.rewrites else 0
        key = (ref.dataset, ref.row, epoch, self._budget)
        if key not in self._outlines:
            conversation, _ = self._changed(ref)
            check_conversation(conversation, need_answer=True)
            fitted = fit(conversation, self._processor, self._budget)
            if fitted.cuts == UNCUT:
                self._outlines[key] = _Known(fitted.outline, None)
            elif self._cuts:
                self._outlines[key] = _Known(fitted.outline, fitted)
            else:
                raise OverlongError(
                    f"{conversation.source}: does not fit a row of {self._budget.told()}. "
                    "Make rows larger, or set data.overlong=fit"
                )
            if len(self._outlines) > REMEMBERED_OUTLINES:
                self._outlines.popitem(last=False)
        return self._outlines[key]

    def __getitem__(self, plan: StepPlan) -> StepBatches:
        dropped: list[BadSample] = []
        micro: list[Batch] = []
        notes: list[list[SampleNote]] = []
        samples: list[str] = []
        tokens = positions = 0
        for rows in plan.micro:
            decoded = [self._decode_row(row, dropped) for row in rows]
            kept = [row for row in decoded if row]
            if not kept:
                break
            examples = [[one for one, _ in row] for row in kept]
            batch = pack_batch(examples, pad_id=self._processor.tokenizer.pad_token_id)
            micro.append(batch)
            notes.append([note for row in kept for _, note in row])
            outlines = [one.outline for row in examples for one in row]
            samples += [f"{one.source} ({one.id})" for one in outlines]
            tokens += sum(len(one.input_ids) for one in outlines)
            positions += batch["input_ids"].numel()
        padding = positions - tokens
        return StepBatches(micro, plan.after, samples, tokens, padding, dropped, plan.fill, notes)

    def bad_sample(self, position: int, error: HocketError) -> BadSample:
        """Return the name of a sample that cannot be used, for the list of them."""
        ref = self._mixture.ref(position)
        try:
            name = self._mixture.read(ref).id
        except DataError:
            name = ""
        number = row_number(self._mixture.sources[ref.dataset], ref.row)
        lost = isinstance(error, LostDecoderError)
        return BadSample(ref.dataset, number, name, str(error), position, lost)

    def _decode_row(self, row: Row, dropped: list[BadSample]) -> list[tuple[Example, SampleNote]]:
        examples = []
        for position in row.positions:
            try:
                if position in self._lost:
                    raise LostDecoderError(self._lost[position])
                examples.append(self._decode(self._mixture.ref(position)))
            except HocketError as error:
                dropped.append(self.bad_sample(position, error))
        return examples

    def _decode(self, ref: SampleRef) -> tuple[Example, SampleNote]:
        outline, cut = self.known(ref)
        # The sound of a video is looked for in its file, so before frames are held in memory.
        conversation, bound = self._changed(ref)
        if cut:
            conversation, bound = cut.conversation, bound.renumbered(cut.kept)
        with torch.no_grad():
            example = self._processor.encode(
                self._media.hold(conversation),
                outline=outline,
                transform=bound,
                retouch=bound.retouch,
            )
        return example, SampleNote(ref.dataset, _medium(example), _weight(conversation))

    def _changed(self, ref: SampleRef) -> tuple[Conversation, BoundAugmenter]:
        """Return a sample as its epoch has it, nothing decoded, and what its media go through."""
        bound = self._augmenter.bind(
            epoch=ref.epoch,
            sample=f"{ref.dataset}/{ref.row}",
            # A rewrite counts the media, so those that the model adds must be there.
            conversation=self._processor.prepare(self._mixture.read(ref)),
            others=self._mixture.sources[ref.dataset],
        )
        assert bound.conversation is not None
        return bound.conversation, bound


def _medium(example: Example) -> str:
    seen = example.images is not None or example.frames is not None
    heard = example.sounds is not None
    return MEDIA[seen + 2 * heard]


def _weight(conversation: Conversation) -> float:
    """Return how much a row's tokens count, as its ``weight`` says.

    Raises:
        DataError: the weight is no number, or below 0.
    """
    weight = conversation.meta.get("weight", 1.0)
    if (
        isinstance(weight, bool)
        or not isinstance(weight, int | float)
        or not 0 <= weight < math.inf
    ):
        raise DataError(
            f"{conversation.source}: its weight is {weight!r}, expected a number of at least 0."
        )
    return float(weight)
