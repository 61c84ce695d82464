"""Optimizer steps as batches: order, packing, decoding in workers, exact state.

The main process plans (order, token counts, rows) from headers alone; workers decode and batch the
rows of this rank. The plan carries the state that follows it, so what a worker has prefetched
never shows in a checkpoint, and any number of workers gives the same batches.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset

from hocket._errors import DataError, HocketError, TrainingError
from hocket._log import warn
from hocket.chat.conversation import Conversation
from hocket.chat.validate import check_conversation
from hocket.data.augment import Augmenter, BoundAugmenter
from hocket.data.cache import DecodedMedia
from hocket.data.mixture import Mixture, SampleRef
from hocket.data.pack import Packer, PackerState, Row
from hocket.tokens.batch import Batch, pack_batch
from hocket.tokens.example import Example, Outline
from hocket.tokens.processor import HocketProcessor

REMEMBERED_OUTLINES = 20_000


@dataclass(frozen=True, slots=True)
class StepPlan:
    """The rows of one optimizer step that this rank computes, and the state behind it."""

    micro: tuple[tuple[Row, ...], ...]
    after: PackerState


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
    """

    micro: list[Batch]
    after: PackerState
    samples: list[str]
    tokens: int
    padding: int
    dropped: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepShape:
    """How an optimizer step is cut.

    Attributes:
        rows: rows of the global step.
        tokens_per_row: length of a row.
        accumulate: micro-batches per step.
        pool: samples the packer may look ahead.
        rank: this process.
        world: processes.
    """

    rows: int
    tokens_per_row: int
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


class SampleMemory:
    """What was learned about samples and need not be learned again, kept across stages.

    Args:
        processor: its audio layout says at which rate sounds are kept.
        cache_mb: memory for decoded media, in megabytes.
    """

    def __init__(self, processor: HocketProcessor, *, cache_mb: int) -> None:
        rate = processor.sounds.rate if processor.sounds else None
        resampler = processor.sounds.resampler if processor.sounds else "soxr"
        self.media = DecodedMedia(megabytes=cache_mb, rate=rate, resampler=resampler)
        self.outlines: OrderedDict[tuple[str, int, int], Outline] = OrderedDict()


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
        max_bad_share: share of unreadable samples that stops the run.
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
        max_bad_share: float = 0.01,
    ) -> None:
        self._mixture = mixture
        self._shape = shape
        self._workers = workers
        self._max_bad_share = max_bad_share
        memory = memory or SampleMemory(processor, cache_mb=0)
        self._decoder = _Decoder(mixture, processor, augmenter, memory)
        self._start = state or PackerState()
        self._bad = self._start.bad

    def __iter__(self) -> Iterator[StepBatches]:
        loader = DataLoader(
            self._decoder,
            batch_size=None,
            sampler=_Plans(self),
            num_workers=self._workers,
        )
        seen = failed = 0
        # Raised here: the `DataLoader` would bury an error of a worker in a traceback.
        for step in loader:
            seen += len(step.samples) + len(step.dropped)
            failed += len(step.dropped)
            if step.dropped:
                self._check_share(failed, seen, step.dropped[-1])
            if len(step.micro) < self._shape.accumulate:
                raise TrainingError(f"no sample of a batch could be decoded: {step.dropped[-1]}")
            yield step

    def plans(self) -> Iterator[StepPlan]:
        """Yield the plan of every step from the start state on, for ever."""
        shape = self._shape
        packer = Packer(
            self._length, budget=shape.tokens_per_row, pool=shape.pool, state=self._start
        )
        while True:
            rows = [packer.next_row() for _ in range(shape.rows)]
            mine = rows[shape.rank :: shape.world]
            size = len(mine) // shape.accumulate
            micro = tuple(tuple(mine[at : at + size]) for at in range(0, len(mine), size))
            yield StepPlan(micro, packer.state)

    def _length(self, position: int) -> int | None:
        """Return the tokens of a sample, or None when it cannot be used."""
        try:
            outline = self._decoder.outline(self._mixture.ref(position))
            length = len(outline.input_ids)
            if length > self._shape.tokens_per_row:
                raise DataError(
                    f"{outline.source}: {length} tokens do not fit a row of "
                    f"{self._shape.tokens_per_row}. Raise tokens_per_row or shorten the sample."
                )
        except HocketError as error:
            self._count_bad(error, position)
            return None
        return length

    def _count_bad(self, error: HocketError, position: int) -> None:
        warn(f"sample left out: {error}")
        self._bad += 1
        self._check_share(self._bad, position + 1, str(error))

    def _check_share(self, bad: int, seen: int, last: str) -> None:
        if bad / max(seen, 200) > self._max_bad_share:
            raise DataError(
                f"{bad} of {seen} samples cannot be used; the last: {last} "
                "Mend the data or raise data.max_bad_share."
            )


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
    ) -> None:
        self._mixture = mixture
        self._processor = processor
        self._augmenter = augmenter
        self._media = memory.media
        self._outlines = memory.outlines

    def outline(self, ref: SampleRef) -> Outline:
        """Return tokens and plans of a sample; headers are read, nothing is decoded."""
        # A rewritten sample has other tokens in another epoch.
        key = (ref.dataset, ref.row, ref.epoch if self._augmenter.rewrites else 0)
        if key not in self._outlines:
            conversation, _ = self._changed(ref)
            check_conversation(conversation, need_answer=True)
            self._outlines[key] = self._processor.measure(conversation)
            if len(self._outlines) > REMEMBERED_OUTLINES:
                self._outlines.popitem(last=False)
        return self._outlines[key]

    def __getitem__(self, plan: StepPlan) -> StepBatches:
        dropped: list[str] = []
        micro: list[Batch] = []
        samples: list[str] = []
        tokens = positions = 0
        for rows in plan.micro:
            decoded = [self._decode_row(row, dropped) for row in rows]
            kept = [row for row in decoded if row]
            if not kept:
                break
            batch = pack_batch(kept, pad_id=self._processor.tokenizer.pad_token_id)
            micro.append(batch)
            samples += [f"{one.outline.source} ({one.outline.id})" for row in kept for one in row]
            tokens += sum(len(one.outline.input_ids) for row in kept for one in row)
            positions += batch["input_ids"].numel()
        return StepBatches(micro, plan.after, samples, tokens, positions - tokens, dropped)

    def _decode_row(self, row: Row, dropped: list[str]) -> list[Example]:
        examples = []
        for position in row.positions:
            ref = self._mixture.ref(position)
            try:
                examples.append(self._decode(ref))
            except HocketError as error:
                dropped.append(str(error))
        return examples

    def _decode(self, ref: SampleRef) -> Example:
        outline = self.outline(ref)
        # The sound of a video is looked for in its file, so before frames are held in memory.
        conversation, bound = self._changed(ref)
        with torch.no_grad():
            return self._processor.encode(
                self._media.hold(conversation),
                outline=outline,
                transform=bound,
                retouch=bound.retouch,
            )

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
