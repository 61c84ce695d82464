"""Examples become one batch of tensors, padded or packed.

Letters: B rows, T tokens of the longest row, S spans, U encoder units, M mel bins, F mel frames.

A padded batch carries an attention mask. A packed batch carries none: its position ids restart at
0 with each example, and transformers separates the examples by that alone. An all-ones mask or a
key-value cache would silently join them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NotRequired, TypedDict

import numpy as np
import torch
from torch import Tensor

from hocket.tokens.example import IGNORED as IGNORED
from hocket.tokens.example import Example
from hocket.tokens.room import joined
from hocket.tokens.span import Modality, Span


class Batch(TypedDict):
    """What the model's ``forward`` takes."""

    input_ids: Tensor  # int64 (B, T)
    labels: NotRequired[Tensor]  # int64 (B, T)
    sample_index: NotRequired[Tensor]  # int64 (B, T), number of the example; packed batches only
    attention_mask: NotRequired[Tensor]  # int64 (B, T), padded batches only
    position_ids: NotRequired[Tensor]  # int64 (B, T), packed batches only
    pixel_values: NotRequired[Tensor]  # float32 (U, 3, H, W), or (U, P, K) of native patches
    image_spans: NotRequired[Tensor]  # int64 (S, 7): units, rows, t, h, w, tile rows, columns
    pixel_values_videos: NotRequired[Tensor]  # float32 (U, 3, H, W)
    video_spans: NotRequired[Tensor]  # int64 (S, 7)
    frame_times: NotRequired[Tensor]  # float32 (U,) seconds
    input_features: NotRequired[Tensor]  # float32 (U, M, F)
    feature_lengths: NotRequired[Tensor]  # int64 (U,) encoder positions
    audio_spans: NotRequired[Tensor]  # int64 (S, 7)
    # In place of pixel_values, pixel_values_videos and input_features: (U, P, C) of the towers.
    image_features: NotRequired[Tensor]
    video_features: NotRequired[Tensor]
    audio_features: NotRequired[Tensor]


def pad_batch(examples: Sequence[Example], *, pad_id: int, side: Literal["left", "right"]) -> Batch:
    """Give each example its own row; generation pads on the left."""
    width = max(len(example.outline.input_ids) for example in examples)
    ids = torch.full((len(examples), width), pad_id)
    labels = torch.full((len(examples), width), IGNORED)
    mask = torch.zeros((len(examples), width), dtype=torch.long)
    for row, example in enumerate(examples):
        length = len(example.outline.input_ids)
        at = slice(width - length, width) if side == "left" else slice(0, length)
        ids[row, at] = torch.tensor(example.outline.input_ids)
        labels[row, at] = torch.tensor(example.outline.labels)
        mask[row, at] = 1
    batch = Batch(input_ids=ids, labels=labels, attention_mask=mask)
    _add_media(batch, examples)
    return batch


def pack_batch(rows: Sequence[Sequence[Example]], *, pad_id: int) -> Batch:
    """Put several examples in each row, isolated by restarting position ids.

    The first label of each example is never learned, because the position that would predict it
    belongs to its neighbour. The tail of a short row is an example of its own without labels.
    """
    width = max(sum(len(example.outline.input_ids) for example in row) for row in rows)
    # numpy: torch takes four times as long to read a list.
    ids = np.full((len(rows), width), pad_id)
    labels = np.full((len(rows), width), IGNORED)
    positions = np.zeros((len(rows), width), dtype=np.int64)
    index = np.zeros((len(rows), width), dtype=np.int64)
    count = 0
    for number, row in enumerate(rows):
        at = 0
        for example in row:
            stop = at + len(example.outline.input_ids)
            ids[number, at:stop] = example.outline.input_ids
            labels[number, at + 1 : stop] = example.outline.labels[1:]
            positions[number, at:stop] = np.arange(stop - at)
            index[number, at:stop] = count
            count += 1
            at = stop
        positions[number, at:] = np.arange(width - at)
    batch = Batch(
        input_ids=torch.from_numpy(ids),
        labels=torch.from_numpy(labels),
        position_ids=torch.from_numpy(positions),
        sample_index=torch.from_numpy(index),
    )
    _add_media(batch, [example for row in rows for example in row])
    return batch


def _add_media(batch: Batch, examples: Sequence[Example]) -> None:
    """Concatenate the encoder inputs in reading order; absent kinds stay absent."""
    if images := [example.images for example in examples if example.images is not None]:
        known = _encoded(examples, Modality.IMAGE)
        batch["image_features" if known else "pixel_values"] = joined(images)
        batch["image_spans"] = _span_table(examples, Modality.IMAGE)
    if frames := [example.frames for example in examples if example.frames is not None]:
        known = _encoded(examples, Modality.VIDEO)
        batch["video_features" if known else "pixel_values_videos"] = joined(frames)
        batch["video_spans"] = _span_table(examples, Modality.VIDEO)
        batch["frame_times"] = torch.cat(
            [example.frame_times for example in examples if example.frame_times is not None]
        )
    if sounds := [example.sounds for example in examples if example.sounds is not None]:
        known = _encoded(examples, Modality.AUDIO)
        batch["audio_features" if known else "input_features"] = joined(sounds)
        batch["audio_spans"] = _span_table(examples, Modality.AUDIO)
        batch["feature_lengths"] = torch.cat(
            [example.sound_lengths for example in examples if example.sound_lengths is not None]
        )


def _encoded(examples: Sequence[Example], modality: Modality) -> bool:
    """Whether the examples hold tower features of a modality, all of them or none."""
    return any(modality in example.encoded for example in examples)


def span_table(spans: Sequence[Span]) -> Tensor:
    """Return int64 (S, 7): units, rows, t, h, w, tile rows and columns of each span."""
    return torch.tensor([[span.units, span.rows, *span.grid, *span.tiles] for span in spans])


def _span_table(examples: Sequence[Example], modality: Modality) -> Tensor:
    return span_table([span for example in examples for span in example.spans(modality)])
