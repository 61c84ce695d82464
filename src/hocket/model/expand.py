"""Media of a batch whose rows are each repeated, as beam search and several answers need it.

Transformers repeats every tensor along its first dimension. That is right for rows of tokens and
wrong for media, whose first dimension counts encoder units of the whole batch.

Letters: B rows of a batch, T tokens, S spans, U encoder units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

# For each modality: its spans, and the tensors that have one entry for each unit.
KINDS = {
    "image": ("image_spans", ("pixel_values", "image_features")),
    "video": ("video_spans", ("pixel_values_videos", "video_features", "frame_times")),
    "audio": ("audio_spans", ("input_features", "audio_features", "feature_lengths")),
}


def expand_media(
    media: Mapping[str, Tensor], ids: Tensor, tokens: Mapping[str, int], *, times: int
) -> dict[str, Tensor]:
    """Repeat the media of each row behind one another.

    Args:
        media: encoder inputs and spans of the batch.
        ids: int64 (B, T) of the batch before it is repeated.
        tokens: placeholder token of each modality.
        times: how often every row is repeated.
    """
    expanded = dict(media)
    for name, (spans_key, unit_keys) in KINDS.items():
        if spans_key not in media:
            continue
        spans = media[spans_key]
        ends = (ids == tokens[name]).sum(dim=1).cumsum(dim=0)
        row_of_span = torch.searchsorted(ends, spans[:, 1].cumsum(dim=0))
        row_of_unit = row_of_span.repeat_interleave(spans[:, 0])
        rows = [row for row in range(len(ids)) for _ in range(times)]
        expanded[spans_key] = _gather(spans, row_of_span, rows)
        for key in unit_keys:
            if key in media:
                expanded[key] = _gather(media[key], row_of_unit, rows)
    return expanded


def _gather(values: Tensor, row_of: Tensor, rows: Iterable[int]) -> Tensor:
    return torch.cat([values[row_of == row] for row in rows])
