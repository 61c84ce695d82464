"""Media rows for prompts: each medium runs through its tower once, however often it is shown.

Letters: U encoder units, R rows, D language width, T tokens, S spans.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from hocket._errors import AlignmentError
from hocket.infer.cache import Kept
from hocket.infer.prompt import Prompt, Shown
from hocket.model.modeling import HocketModel
from hocket.tokens.batch import span_table
from hocket.tokens.span import Modality

MOST_UNITS = 64
"""Encoder units of one call of a tower."""

_NAMES = {
    Modality.IMAGE: ("pixel_values", "image_spans"),
    Modality.VIDEO: ("pixel_values_videos", "video_spans"),
    Modality.AUDIO: ("input_features", "audio_spans"),
}


class MediaRows:
    """Turns prompts into embeddings.

    Args:
        model: the composite without its head.
        limit: bytes of rows that are kept for media that come again.
    """

    def __init__(self, model: HocketModel, limit: int) -> None:
        self._model = model
        self.kept: Kept[bytes, Tensor] = Kept(limit)
        config = model.config
        self._tokens = {
            Modality.IMAGE: config.image_token_id,
            Modality.VIDEO: config.video_token_id,
            Modality.AUDIO: config.audio_token_id,
        }

    def embed(self, prompts: Sequence[tuple[Prompt, int]]) -> list[Tensor]:
        """Return the embeddings (T - first, D) of each prompt from its token `first` on.

        Raises:
            AlignmentError: placeholders and rows differ in number.
        """
        wanted = [one for prompt, first in prompts for one in prompt.shown if one.span.stop > first]
        rows = self._rows(wanted)
        table = self._model.get_input_embeddings()
        device = self._model.device
        made = []
        for prompt, first in prompts:
            embeds = table(torch.from_numpy(prompt.ids[first:]).to(device))
            for one in prompt.shown:
                if one.span.stop > first:
                    _write(embeds, prompt, one, rows[one.digest], first, self._tokens)
            made.append(embeds)
        return made

    def _rows(self, media: Iterable[Shown]) -> dict[bytes, Tensor]:
        """Return the rows (R, D) of each medium by its digest."""
        found: dict[bytes, Tensor] = {}
        missing: dict[Modality, list[Shown]] = {kind: [] for kind in Modality}
        for one in media:
            if one.digest in found:
                continue
            known = self.kept.get(one.digest)
            if known is None:
                missing[one.span.modality].append(one)
            found[one.digest] = torch.empty(0) if known is None else known
        for kind, those in missing.items():
            for batch in _batches(those):
                found |= self._encode(kind, batch)
        return found

    def _encode(self, kind: Modality, media: Sequence[Shown]) -> dict[bytes, Tensor]:
        """Run a tower and its connector over media of one kind."""
        device = self._model.device
        pixels, spans = _NAMES[kind]
        batch: dict[str, Tensor | None] = {
            pixels: torch.cat([one.units for one in media]).to(device),
            spans: span_table([one.span for one in media]).to(device),
        }
        if kind is Modality.VIDEO:
            times = [one.times for one in media if one.times is not None]
            batch["frame_times"] = torch.cat(times).to(device) if times else None
        if kind is Modality.AUDIO:
            lengths = [one.lengths for one in media if one.lengths is not None]
            batch["feature_lengths"] = torch.cat(lengths).to(device) if lengths else None
        rows = self._model.media_rows(batch)[self._tokens[kind]]
        counts = [one.span.rows for one in media]
        if sum(counts) != len(rows):
            raise AlignmentError(
                f"the prompt holds {sum(counts)} <{kind.value}> placeholder tokens, but the "
                f"encoder and connector made {len(rows)} rows. The processor and the model come "
                "from different checkpoints."
            )
        made = {}
        for one, part in zip(media, rows.split(counts), strict=True):
            # A copy, so that one medium does not keep the rows of all others.
            made[one.digest] = part.clone()
            self.kept.put(one.digest, made[one.digest], part.numel() * part.element_size())
        return made


def _batches(media: Sequence[Shown]) -> Iterable[list[Shown]]:
    """Yield media together while their units are few and of one shape; none twice."""
    batch: list[Shown] = []
    units = 0
    for one in {one.digest: one for one in media}.values():
        fits = units + one.span.units <= MOST_UNITS
        if batch and not (fits and one.units.shape[1:] == batch[0].units.shape[1:]):
            yield batch
            batch, units = [], 0
        batch.append(one)
        units += one.span.units
    if batch:
        yield batch


def _write(
    embeds: Tensor,
    prompt: Prompt,
    one: Shown,
    rows: Tensor,
    first: int,
    tokens: dict[Modality, int],
) -> None:
    """Put the rows of a medium at its placeholders, those before token `first` left out."""
    start, stop = one.span.start, one.span.stop
    places = torch.from_numpy(prompt.ids[start:stop] == tokens[one.span.modality]).nonzero()[:, 0]
    places = places[: len(rows)] + start
    keep = places >= first
    at = (places[keep] - first).to(embeds.device)
    embeds[at] = rows[keep.to(rows.device)].to(embeds.dtype)
