"""The plan of a step becomes batches: samples are read, augmented, decoded and packed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch.utils.data import Dataset

from hocket._errors import DataError, HocketError
from hocket.chat.conversation import Conversation
from hocket.chat.validate import check_conversation
from hocket.data.augment import Augmenter, BoundAugmenter
from hocket.data.budget import UNCUT, Budget
from hocket.data.cache import DecodedMedia
from hocket.data.chosen import row_number
from hocket.data.faults import BadSample
from hocket.data.guarded import announce
from hocket.data.mixture import Mixture, SampleRef
from hocket.data.pack import PackerState, Row
from hocket.data.pair import fit_pair, pair_of, with_both_answers
from hocket.data.row_labels import LabelKey, MediaLabels, labels_of
from hocket.data.row_weight import weight_of
from hocket.data.spec import Overlong
from hocket.data.truncate import Fitted, OverlongError, fit
from hocket.media.guard import LostDecoderError
from hocket.tokens.batch import Batch, pack_batch
from hocket.tokens.cutter import FeatureSource
from hocket.tokens.example import Cost, Example, Outline
from hocket.tokens.processor import HocketProcessor
from hocket.tokens.room import UnitRoom
from hocket.tokens.span import Modality
from hocket.tokens.spare import SpareMemory

REMEMBERED_OUTLINES = 20_000
REMEMBERED_ROWS = 512
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
        labels: classes of its media that heads tell.
    """

    source: str
    medium: str
    weight: float
    labels: tuple[MediaLabels, ...] = ()


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


class Known(NamedTuple):
    """Tokens and plans of a sample, the rest of it where it was cut, and a pair's other half."""

    outline: Outline
    cut: Fitted | None
    rejected: Outline | None = None

    @property
    def cost(self) -> Cost:
        """What the sample costs in its row."""
        mine = self.outline.cost
        return mine + self.rejected.cost if self.rejected else mine


class Sample(NamedTuple):
    """A sample as its row holds it, nothing decoded.

    Attributes:
        conversation: what is left of it.
        outline: its tokens and plans.
        bound: what its media go through.
        labels: their classes.
    """

    conversation: Conversation
    outline: Outline
    bound: BoundAugmenter
    labels: tuple[MediaLabels, ...]


class _Opened(NamedTuple):
    """A sample of a row, and where it comes from."""

    position: int
    ref: SampleRef
    sample: Sample


_Key = tuple[str, int, int, Budget, bool]


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
        self.outlines: OrderedDict[_Key, Known] = OrderedDict()


class Decoder(Dataset[StepBatches]):
    """Turns a step plan into batches.

    Attributes:
        labels: where rows hold the classes of their media.
        features: what frozen towers made of media; None decodes them.

    Args:
        mixture: samples in order.
        processor: turns conversations into examples.
        augmenter: augmentations of training media.
        memory: outlines and decoded media of before.
        budget: the most that a row may cost.
        overlong: what happens to samples that one row cannot hold.
        lost: position -> reason of the samples whose decoder was lost before.
        pairs: whether each row of the data is a pair of samples, a chosen and a rejected answer.
    """

    def __init__(
        self,
        mixture: Mixture,
        processor: HocketProcessor,
        augmenter: Augmenter,
        memory: SampleMemory,
        budget: Budget,
        overlong: Overlong,
        lost: Mapping[int, str],
        *,
        pairs: bool = False,
    ) -> None:
        self.labels: Sequence[LabelKey] = ()
        self.features: FeatureSource | None = None
        self._lost = lost
        self._pairs = pairs
        self._budget = budget
        self._cuts = overlong is Overlong.FIT
        self._mixture = mixture
        self._processor = processor
        self._augmenter = augmenter
        self._media = memory.media
        self._outlines = memory.outlines
        self._spare = SpareMemory()
        self._read: OrderedDict[SampleRef, tuple[Conversation, BoundAugmenter]] = OrderedDict()

    def known(self, ref: SampleRef) -> Known:
        """Return tokens and plans of a sample; headers are read, nothing is decoded.

        Raises:
            OverlongError: it does not fit its row and may not, or cannot, be cut.
            HocketError: it cannot be used.
        """
        # A rewritten sample has other tokens in another epoch, and a stage other rows.
        epoch = ref.epoch if self._augmenter.rewrites else 0
        key = (ref.dataset, ref.row, epoch, self._budget, self._pairs)
        if key not in self._outlines:
            conversation, bound = self._changed(ref)
            self._keep(ref, conversation, bound)
            check_conversation(conversation, need_answer=True)
            rejected = None
            if self._pairs:
                fitted, rejected = fit_pair(pair_of(conversation), self._processor, self._budget)
            else:
                fitted = fit(conversation, self._processor, self._budget)
            if fitted.cuts == UNCUT:
                self._outlines[key] = Known(fitted.outline, None, rejected)
            elif self._cuts:
                self._outlines[key] = Known(fitted.outline, fitted, rejected)
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
            opened = [self._open_row(row, dropped) for row in rows]
            room = UnitRoom((one.sample.outline for row in opened for one in row), self._spare)
            self._announce(opened)
            decoded = [self._decode_row(row, room, dropped) for row in opened]
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

    def _open_row(self, row: Row, dropped: list[BadSample]) -> list[_Opened]:
        opened: list[_Opened] = []
        for position in row.positions:
            try:
                if position in self._lost:
                    raise LostDecoderError(self._lost[position])
                ref = self._mixture.ref(position)
                opened.append(_Opened(position, ref, self.sample(ref)))
            except HocketError as error:
                dropped.append(self.bad_sample(position, error))
        return opened

    def _announce(self, rows: Iterable[Iterable[_Opened]]) -> None:
        """Have the guard decode what the rows will ask for."""
        if self.features and Modality.IMAGE in self.features.modalities:
            return
        samples = (one.sample.conversation for row in rows for one in row)
        media = (medium for sample in samples for medium in sample.media())
        announce(medium for medium in media if not self._media.has(medium))

    def _decode_row(
        self, row: list[_Opened], room: UnitRoom, dropped: list[BadSample]
    ) -> list[tuple[Example, SampleNote]]:
        examples: list[tuple[Example, SampleNote]] = []
        for one in row:
            try:
                examples += self._decode(one, room)
            except HocketError as error:
                dropped.append(self.bad_sample(one.position, error))
        return examples

    def sample(self, ref: SampleRef) -> Sample:
        """Return a sample as its row holds it, nothing decoded.

        Raises:
            HocketError: it cannot be used.
        """
        outline, cut, _ = self.known(ref)
        # The sound of a video is looked for in its file, so before frames are held in memory.
        conversation, bound = self._read.pop(ref) if ref in self._read else self._changed(ref)
        labels = labels_of(conversation, self.labels, cut.kept if cut else None)
        if cut:
            conversation, bound = cut.conversation, bound.renumbered(cut.kept)
        return Sample(conversation, outline, bound, labels)

    def _decode(self, opened: _Opened, room: UnitRoom) -> list[tuple[Example, SampleNote]]:
        """Return a sample, or both halves of a pair: the chosen, then the rejected."""
        known = self.features.modalities if self.features else frozenset()
        sample = opened.sample
        with torch.no_grad():
            example = self._processor.encode(
                self._media.hold(sample.conversation, without=known),
                outline=sample.outline,
                transform=sample.bound,
                retouch=sample.bound.retouch,
                features=self.features,
            )
            example = room.take(example)
        weight = weight_of(sample.conversation)
        note = SampleNote(opened.ref.dataset, _medium(example), weight, sample.labels)
        rejected = self.known(opened.ref).rejected
        halves = [example, replace(example, outline=rejected)] if rejected else [example]
        return [(half, note) for half in halves]

    def _keep(self, ref: SampleRef, conversation: Conversation, bound: BoundAugmenter) -> None:
        """Remember a row that was read to plan it, until it is decoded."""
        if any(medium.where.data is not None for medium in conversation.media()):
            return  # The files themselves: the pool of the packer may hold thousands of frames.
        self._read[ref] = conversation, bound
        if len(self._read) > REMEMBERED_ROWS:
            self._read.popitem(last=False)

    def _changed(self, ref: SampleRef) -> tuple[Conversation, BoundAugmenter]:
        """Return a sample as its epoch has it, nothing decoded, and what its media go through."""
        # A rewrite counts the media, so those that the model adds must be there.
        prepared = self._processor.prepare(self._mixture.read(ref))
        bound = self._augmenter.bind(
            epoch=ref.epoch,
            sample=f"{ref.dataset}/{ref.row}",
            # A picture is not mirrored where either answer speaks of left and right.
            conversation=with_both_answers(prepared) if self._pairs else prepared,
            others=self._mixture.sources[ref.dataset],
        )
        assert bound.conversation is not None
        return (prepared if self._pairs else bound.conversation), bound


def _medium(example: Example) -> str:
    seen = example.images is not None or example.frames is not None
    heard = example.sounds is not None
    return MEDIA[seen + 2 * heard]
