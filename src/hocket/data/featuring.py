"""Building the feature cache: which media a stage shows, and the tower's features of each.

Media are decoded in workers and encoded a few at a time; what is there already is left as it is,
so a build that was stopped goes on. Knows samples and shards; a tower is a function it is given.

Letters: U units, P positions, C width, S spans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from hocket._errors import HocketError, MachineError
from hocket.chat.conversation import Conversation
from hocket.data.features import KnownFeatures, ShardWriter
from hocket.data.mixture import Mixture, SampleRef
from hocket.data.workers import loaded
from hocket.tokens.batch import span_table
from hocket.tokens.example import Outline
from hocket.tokens.processor import HocketProcessor
from hocket.tokens.span import Modality, Span

MOST_UNITS = 32
"""Encoder inputs that go through the tower at once, more only where one medium has more."""


class Encode(Protocol):
    """Runs the tower of a modality."""

    def __call__(
        self, modality: Modality, inputs: Tensor, spans: Tensor, lengths: Tensor | None
    ) -> Tensor:
        """Return (U, P, C) of inputs (U, ...) whose spans are int64 (S, 7)."""
        ...


class Opened(Protocol):
    """Knows samples by what refers to them."""

    def sample(self, ref: SampleRef) -> tuple[Conversation, Outline]:
        """Return a sample, nothing decoded."""
        ...


class Samples(Opened, Protocol):
    """Knows every sample of a stage as its row holds it; a `Loader` does."""

    @property
    def mixture(self) -> Mixture:
        """The samples in order."""
        ...


class Place(NamedTuple):
    """Where a medium stands: its sample, and its number there."""

    ref: SampleRef
    number: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """The media of a stage whose features are asked for.

    Attributes:
        places: modality -> key of a medium -> where it stands first.
        seen: media in all samples, those that stand in several of them counted each time.
        unread: samples that cannot be used, which the run will name.
    """

    places: dict[Modality, dict[str, Place]]
    seen: int
    unread: int


class Decoded(NamedTuple):
    """A medium ready for its tower.

    Attributes:
        modality: what it is.
        key: its name in the cache.
        inputs: float32 (U, ...).
        span: its span.
        times: of a video, float32 (U,) seconds.
        lengths: of a sound, real positions of each unit.
    """

    modality: Modality
    key: str
    inputs: Tensor
    span: Span
    times: Tensor | None
    lengths: list[int]


@dataclass(slots=True)
class Built:
    """What a build did.

    Attributes:
        count: media that were encoded.
        failures: why others could not be decoded.
    """

    count: int = 0
    failures: list[str] = field(default_factory=list)


def list_media(
    samples: Samples,
    features: KnownFeatures,
    *,
    refs: Sequence[SampleRef] | None = None,
    advance: Callable[[int, int], None] | None = None,
) -> Wanted:
    """Find the media of the modalities asked for in every row of a stage's data sets.

    Args:
        samples: the stage's samples.
        features: the modalities, and the names of media.
        refs: look at these samples alone; None for all.
        advance: called with the number of samples that were looked at, and of all.

    Raises:
        MachineError: the hashes of media cannot be kept.
    """
    chosen = _every_row(samples.mixture) if refs is None else iter(refs)
    total = _rows(samples.mixture) if refs is None else len(refs)
    places: dict[Modality, dict[str, Place]] = {kind: {} for kind in features.modalities}
    seen = unread = 0
    for number, ref in enumerate(chosen):
        try:
            for key, kind, index in keys_of(samples, features, ref):
                places[kind].setdefault(key, Place(ref, index))
                seen += 1
        except MachineError:
            raise
        except HocketError:
            unread += 1
        if advance:
            advance(number + 1, total)
    return Wanted(places, seen, unread)


def decode(samples: Opened, processor: HocketProcessor, key: str, place: Place) -> Decoded:
    """Decode one medium.

    Raises:
        HocketError: it cannot be used.
    """
    conversation, outline = samples.sample(place.ref)
    medium = list(conversation.media())[place.number]
    plan, span = outline.plans[place.number], outline.spans[place.number]
    inputs, times = processor.units(medium, plan, outline, index=place.number)
    sound = span.modality is Modality.AUDIO
    lengths = processor.media.lengths(plan, outline.source) if sound else []
    return Decoded(span.modality, key, inputs, span, times, lengths)


def encode_all(encode: Encode, media: Sequence[Decoded]) -> list[Tensor]:
    """Return the features (U, P, C) of each of some media of one modality."""
    first = media[0]
    lengths = torch.tensor([length for one in media for length in one.lengths])
    with torch.inference_mode():
        x = encode(
            first.modality,
            torch.cat([one.inputs for one in media]),
            span_table([one.span for one in media]),
            lengths if first.lengths else None,
        )
    return list(x.split([len(one.inputs) for one in media]))


def build_features(
    samples: Opened,
    processor: HocketProcessor,
    features: KnownFeatures,
    places: Mapping[str, Place],
    encode: Encode,
    *,
    workers: int = 0,
    advance: Callable[[int, int], None] | None = None,
) -> Built:
    """Encode media and add them to the cache.

    Args:
        samples: the stage's samples.
        processor: decodes media.
        features: where the features go.
        places: key -> where the medium stands.
        encode: runs a tower.
        workers: decoding processes; 0 decodes here.
        advance: called with the number of media that are done, and of all; may raise to stop.

    Raises:
        MachineError: a shard cannot be written.
    """
    built = Built()
    waiting: dict[Modality, list[Decoded]] = {kind: [] for kind in features.modalities}
    with ExitStack() as stack:
        writers = {
            kind: stack.enter_context(shards.writer()) for kind, shards in features.shards.items()
        }
        for number, found in enumerate(_decoded(samples, processor, places, workers=workers)):
            if isinstance(found, str):
                built.failures.append(found)
            else:
                group = waiting[found.modality]
                group.append(found)
                if sum(len(one.inputs) for one in group) >= MOST_UNITS:
                    built.count += _write(encode, group, writers[found.modality])
            if advance:
                advance(number + 1, len(places))
        for kind, group in waiting.items():
            built.count += _write(encode, group, writers[kind])
    for shards in features.shards.values():
        shards.refresh()
    return built


class _Work(Dataset["Decoded | str"]):
    """Media to decode; runs in the workers."""

    def __init__(
        self, samples: Opened, processor: HocketProcessor, places: Mapping[str, Place]
    ) -> None:
        self._samples, self._processor = samples, processor
        self._places = list(places.items())

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Decoded | str:
        key, place = self._places[index]
        try:
            return decode(self._samples, self._processor, key, place)
        except HocketError as error:
            return str(error)


def _decoded(
    samples: Opened, processor: HocketProcessor, places: Mapping[str, Place], *, workers: int
) -> Iterator[Decoded | str]:
    """Yield each medium decoded, or why it cannot be."""
    if places:
        work = _Work(samples, processor, places)
        yield from loaded(work, workers=workers)


def _write(encode: Encode, group: list[Decoded], writer: ShardWriter) -> int:
    """Encode a group, write it, empty it; return how many it held."""
    count = len(group)
    if count:
        for one, x in zip(group, encode_all(encode, group), strict=True):
            writer.add(one.key, x, one.times)
    group.clear()
    return count


def keys_of(
    samples: Opened, features: KnownFeatures, ref: SampleRef
) -> list[tuple[str, Modality, int]]:
    """Return (key, modality, number in the sample) of a sample's media that features are kept of.

    Raises:
        HocketError: the sample cannot be used.
    """
    conversation, outline = samples.sample(ref)
    return [
        (features.keys.key(span.modality, medium, plan), span.modality, index)
        for index, (medium, plan, span) in enumerate(
            zip(conversation.media(), outline.plans, outline.spans, strict=True)
        )
        if span.modality in features.modalities
    ]


def _rows(mixture: Mixture) -> int:
    return sum(len(source) for source in mixture.sources.values())


def _every_row(mixture: Mixture) -> Iterator[SampleRef]:
    for name, source in mixture.sources.items():
        for row in range(len(source)):
            yield SampleRef(0, name, row)
