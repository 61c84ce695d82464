"""One tokenised sample: what the packer measures and what the collator batches.

An `Outline` is everything that is known before a pixel is decoded; an `Example` adds the
encoder inputs. Letters: T tokens, U encoder units, M mel bins, F mel frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from hocket.tokens.span import Modality, Plan, Span

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Cost:
    """What a sample costs to train on.

    Attributes:
        tokens: positions of the language model.
        patches: patches of the vision tower.
        frames: encoder frames of the audio tower.
        targets: tokens that are learned.
    """

    tokens: int
    patches: int = 0
    frames: int = 0
    targets: int = 0

    def __add__(self, other: Cost) -> Cost:
        """Add two costs field by field."""
        return Cost(
            self.tokens + other.tokens,
            self.patches + other.patches,
            self.frames + other.frames,
            self.targets + other.targets,
        )


def cost_of(labels: Sequence[int], spans: Sequence[Span], plans: Sequence[Plan]) -> Cost:
    """Return what a sample costs that has one plan for each of its spans."""
    patches = frames = 0
    for span, plan in zip(spans, plans, strict=True):
        size = plan.units * plan.patches[0] * plan.patches[1]
        if span.modality is Modality.AUDIO:
            frames += size
        else:
            patches += size
    # The first label has no token before it that could predict it.
    targets = len(labels) - labels.count(IGNORED) - (bool(labels) and labels[0] != IGNORED)
    return Cost(len(labels), patches, frames, targets)


@dataclass(frozen=True, slots=True)
class Outline:
    """A sample as tokens, before any medium is decoded.

    Attributes:
        id: the sample's own id.
        source: data set, file and row, for error messages.
        input_ids: token ids, placeholders expanded.
        labels: the same ids where the token is learned, -100 elsewhere.
        spans: one per medium, in reading order.
        plans: the plan behind each span.
        cost: what the sample costs.
    """

    id: str
    source: str
    input_ids: list[int]
    labels: list[int]
    spans: tuple[Span, ...]
    plans: tuple[Plan, ...]
    cost: Cost


@dataclass(frozen=True, slots=True)
class Example:
    """A sample with its encoder inputs.

    Attributes:
        outline: tokens, labels and spans.
        images: float32 (U, 3, H, W) of all pictures, or None.
        frames: float32 (U, 3, H, W) of all video frames, or None.
        frame_times: float32 (U,) seconds of each video frame, or None.
        sounds: float32 (U, M, F) log-mel chunks, or None.
        sound_lengths: int64 (U,) encoder frames of each chunk that are not padding, or None.
        encoded: media that hold tower features (U, P, C) in place of encoder inputs.
    """

    outline: Outline
    images: Tensor | None = None
    frames: Tensor | None = None
    frame_times: Tensor | None = None
    sounds: Tensor | None = None
    sound_lengths: Tensor | None = None
    encoded: frozenset[Modality] = frozenset()

    def spans(self, modality: Modality) -> list[Span]:
        """Return the spans of one modality in reading order."""
        return [span for span in self.outline.spans if span.modality is modality]
