"""The batches that a plan is made for: rows of the run's own data, and rows made up to a size.

The packer of the run packs a sample of its mixture from headers alone; the dearest micro-batch of
them is then read as the run would read it, and `hocket.data.census` says what the samples are like.
A made-up row holds so many tokens and media.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from hocket._errors import ConfigError
from hocket.chat.conversation import Conversation
from hocket.data.balance import Prices
from hocket.data.budget import Budget
from hocket.data.census.count import take_census
from hocket.data.census.summary import Spread, summarise
from hocket.data.joined import Place
from hocket.data.mixture import Mixture
from hocket.data.pack import Row
from hocket.tokens.batch import Batch, pack_batch
from hocket.tokens.example import Example, Outline, cost_of
from hocket.tokens.processor import HocketProcessor
from hocket.tokens.span import Modality, Plan, Span
from hocket.train.feed import Feed
from hocket.train.recipe import Stage

_PICTURE = (480, 640)
_Layout = TypeVar("_Layout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """What samples of the mixture are like, and what packed rows of them cost.

    Attributes:
        samples: samples that were looked at.
        unusable: of them those that cannot be used.
        epoch: samples of an epoch.
        figures: what is measured of a sample, such as ``tokens`` or ``audio seconds``.
        rows_per_epoch: packed rows that an epoch takes.
        mean_price: mean price of a packed row, in tokens of the language model.
        worst_price: price of the dearest micro-batch.
        mean_tokens: mean of real tokens in a packed row.
    """

    samples: int
    unusable: int
    epoch: int
    figures: Mapping[str, Spread]
    rows_per_epoch: float
    mean_price: float
    worst_price: float
    mean_tokens: float


class Work(NamedTuple):
    """A micro-batch to plan for, and the rows that it was chosen from; None for a made-up one."""

    batch: Batch
    histogram: Histogram | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a made-up row holds.

    Attributes:
        tokens: its length; media and their text come first.
        pictures: pictures of `size`.
        frames: frames of one video; 0 for none.
        seconds: seconds of one sound; 0 for none.
        size: height and width of pictures and frames in pixels.
        targets: share of the row that is learned, of what is not media.
    """

    tokens: int
    pictures: int = 0
    frames: int = 0
    seconds: float = 0.0
    size: tuple[int, int] = _PICTURE
    targets: float = 1.0


def dearest_step(feed: Feed, name: str, stage: Stage, *, prices: Prices, samples: int) -> Work:
    """Pack a sample of a stage's mixture and read the dearest micro-batch of this process.

    Args:
        feed: opens the stage's data.
        name: the stage's name.
        stage: its settings.
        prices: what media cost beside tokens.
        samples: samples to pack, at least one step's.

    Raises:
        DataError: the data cannot be read.
    """
    before, chosen, worst = None, None, -1.0
    rows: list[Row] = []
    state = None
    for plan in feed.loader(name, stage, prices=prices).plans():
        rows += itertools.chain.from_iterable(plan.micro)
        price, at = max(
            (sum(prices.of(row.cost) for row in micro), at) for at, micro in enumerate(plan.micro)
        )
        if price > worst:
            worst, before, chosen = price, state, at
        state = plan.after
        if plan.after.cursor >= samples:
            break
    assert chosen is not None
    loader = feed.loader(name, stage, prices=prices, state=before)
    step = next(iter(loader))
    sampled = _Sampled(loader.mixture, samples)
    budget = Budget(stage.tokens_per_row, stage.patches_per_row, stage.audio_frames_per_row)
    found = summarise(take_census(sampled, feed.processor), budget, seed=feed.recipe.seed)
    tokens = float(np.mean([row.cost.tokens for row in rows]))
    usable = found.figures["tokens"].total / len(sampled) * len(loader.mixture)
    return Work(
        step.micro[chosen],
        Histogram(
            samples=len(sampled),
            unusable=sum(found.faults.values()),
            epoch=len(loader.mixture),
            figures=found.figures,
            rows_per_epoch=usable / tokens,
            mean_price=float(np.mean([prices.of(row.cost) for row in rows])),
            worst_price=worst,
            mean_tokens=tokens,
        ),
    )


class _Sampled:
    """The first samples of a mixture, as the census takes them.

    Args:
        mixture: samples in order.
        most: how many to take.
    """

    def __init__(self, mixture: Mixture, most: int) -> None:
        self._mixture = mixture
        self._count = min(most, len(mixture))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Conversation:
        """Return a sample.

        Raises:
            DataError: the row cannot be understood.
        """
        return self._mixture.read(self._mixture.ref(index))

    def place(self, index: int) -> Place:
        """Return the data set of a sample and its row there."""
        return Place(*self._mixture.ref(index)[1:])


def made_up(processor: HocketProcessor, content: Content, *, rows: int = 1) -> Batch:
    """Return a batch of equal rows with such content; media are shapes without numbers.

    Raises:
        ConfigError: the model does not take such a medium.
    """
    plans = list(_plans(processor, content))
    used = sum(plan.rows for _, plan in plans)
    text = max(1, content.tokens - used)
    spans, ids, at = [], [], 0
    for modality, plan in plans:
        spans.append(Span(modality, at, plan.rows, plan.units, plan.grid, plan.tiles))
        ids += [processor.placeholder_ids[modality]] * plan.rows
        at += plan.rows
    word = next(at for at in itertools.count() if at not in processor.placeholder_ids.values())
    # A row that is all media still learns one token.
    learned = max(1, round(text * content.targets))
    labels = [-100] * (used + text - learned) + [word] * learned
    outline = Outline(
        id="made-up",
        source="a made-up row",
        input_ids=ids + [word] * text,
        labels=labels,
        spans=tuple(spans),
        plans=tuple(plan for _, plan in plans),
        cost=cost_of(labels, spans, [plan for _, plan in plans]),
    )
    example = _example(processor, outline)
    return pack_batch([[example]] * rows, pad_id=0)


def tokens_of(processor: HocketProcessor, content: Content) -> int:
    """Return how many tokens the media of a made-up row take."""
    return sum(plan.rows for _, plan in _plans(processor, content))


def _plans(processor: HocketProcessor, content: Content) -> list[tuple[Modality, Plan]]:
    found: list[tuple[Modality, Plan]] = []
    height, width = content.size
    if content.pictures:
        layout = _need(processor.images, "pictures")
        plan = layout.plan(height, width, media=content.pictures)
        found += [(Modality.IMAGE, plan)] * content.pictures
    if content.frames:
        layout = _need(processor.films, "videos")
        found.append((Modality.VIDEO, layout.plan(height, width, frames=content.frames)))
    if content.seconds:
        sounds = _need(processor.sounds, "sounds")
        plan = sounds.plan(round(content.seconds * sounds.rate))
        found.append((Modality.AUDIO, plan))
    return found


def _example(processor: HocketProcessor, outline: Outline) -> Example:
    media: dict[Modality, list[Tensor]] = {modality: [] for modality in Modality}
    lengths: list[int] = []
    frames = 0
    for span, plan in zip(outline.spans, outline.plans, strict=True):
        shape = _unit_shape(processor, span.modality, plan)
        media[span.modality].append(torch.empty(plan.units, *shape, device="meta"))
        if span.modality is Modality.AUDIO:
            lengths += _need(processor.sounds, "sounds").lengths(plan)
        if span.modality is Modality.VIDEO:
            frames += plan.units
    joined = {modality: torch.cat(units) for modality, units in media.items() if units}
    return Example(
        outline=outline,
        images=joined.get(Modality.IMAGE),
        frames=joined.get(Modality.VIDEO),
        frame_times=torch.arange(frames) / 2 if frames else None,
        sounds=joined.get(Modality.AUDIO),
        sound_lengths=torch.tensor(lengths) if lengths else None,
    )


@functools.lru_cache(maxsize=64)
def _unit_shape(processor: HocketProcessor, modality: Modality, plan: Plan) -> tuple[int, ...]:
    """Return the shape of one encoder unit, from a black picture or a silent moment."""
    if modality is Modality.AUDIO:
        sounds = _need(processor.sounds, "sounds")
        one = sounds.plan(1)
        return tuple(sounds.units(np.zeros(1, np.float32), one).shape[1:])
    layout = _need(
        processor.images if modality is Modality.IMAGE else processor.films, modality.value
    )
    # Frames that are tiled have units of one shape, and too many of them to make all.
    frames = max(plan.frames, 1) if plan.tiles == (1, 1) else 1
    pixels = np.zeros((frames, 64, 64, 3), np.uint8)
    return tuple(layout.units(pixels, plan).shape[1:])


def _need(layout: _Layout | None, what: str) -> _Layout:
    if layout is None:
        raise ConfigError(f"the model takes no {what}. Plan for another row, or change the model.")
    return layout
