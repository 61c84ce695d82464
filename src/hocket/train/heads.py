"""What the heads of a stage tell: labels from the data, their loss over a whole step, their state.

The loss of a head is the mean over all labels of the global step, weighted as their rows and data
sets are, whichever way the step is cut; a step without a label of a head leaves that head out. Each
stage starts its heads anew; they end with it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from hocket._errors import ConfigError
from hocket.data.decoder import SampleNote, StepBatches
from hocket.data.row_labels import LabelKey
from hocket.model.config import HocketConfig
from hocket.model.heads import HEADS, HeadTarget, MediaHeads, key_of
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.batch import IGNORED, Batch
from hocket.tokens.span import Modality
from hocket.train.recipe import Group, HeadMedia, HeadSpec, LossSpec, Stage
from hocket.train.runtime import Runtime
from hocket.train.state import read_heads

TEXT = "text"
"""What the language model's own loss is called beside those of heads."""
_KINDS = {
    HeadMedia.VISION: (Modality.IMAGE, Modality.VIDEO),
    HeadMedia.IMAGE: (Modality.IMAGE,),
    HeadMedia.VIDEO: (Modality.VIDEO,),
    HeadMedia.AUDIO: (Modality.AUDIO,),
}


class Told(NamedTuple):
    """How the heads did in a step.

    Attributes:
        losses: ``head/NAME`` -> mean loss, before its weight; ``head/text`` is that of the words.
        accuracy: name -> share of its labels that it told right.
    """

    losses: dict[str, float]
    accuracy: dict[str, float]


class _Known(NamedTuple):
    """The labels of one head in a batch, and the weight of each."""

    places: Tensor  # int64 (B, T)
    labels: Tensor  # int64 (S,)
    weights: Tensor  # float32 (S,)

    def whole(self) -> float:
        """Return the sum of the weights of what is learned."""
        return float(self.weights[self.labels != IGNORED].sum(dtype=torch.float64))


class HeadTerms:
    """The heads' part of what a stage learns.

    Args:
        loss: the stage's.
        config: knows the placeholder tokens of media; not needed without heads.
    """

    def __init__(self, loss: LossSpec, config: HocketConfig | None) -> None:
        self._text, self._specs = loss.text, loss.heads
        self._keys = label_keys(loss)
        self._tokens: dict[Modality, int] = {}
        if config is not None:
            self._tokens = {
                Modality.IMAGE: config.image_token_id,
                Modality.VIDEO: config.video_token_id,
                Modality.AUDIO: config.audio_token_id,
            }

    def targets(
        self, step: StepBatches, sources: Mapping[str, float], runtime: Runtime
    ) -> list[dict[str, list[HeadTarget]]]:
        """Return for each batch the model's argument that says what heads learn; empty for nothing.

        Args:
            step: the step.
            sources: data set -> how much its labels count.
            runtime: adds up over ranks.
        """
        if not self._specs:
            return [{} for _ in step.micro]
        found = [
            {key.name: self._known(batch, notes, key, sources) for key in self._keys}
            for batch, notes in zip(step.micro, step.notes, strict=True)
        ]
        here = [sum(one[key.name].whole() for one in found) for key in self._keys]
        own = torch.tensor(here, dtype=torch.float64, device=runtime.device)
        sums = runtime.sum_over_ranks(own).tolist()
        scales = {
            key.name: self._specs[key.name].weight / max(whole, 1e-12)
            for key, whole in zip(self._keys, sums, strict=True)
        }
        return [
            {
                "head_targets": [
                    HeadTarget(
                        name,
                        known.places.to(runtime.device),
                        known.labels.to(runtime.device),
                        (known.weights * scales[name]).to(runtime.device),
                    )
                    for name, known in one.items()
                    if known.whole()
                ]
            }
            for one in found
        ]

    def told(
        self, losses: Sequence[Tensor], heads: Sequence[Tensor | None], runtime: Runtime
    ) -> Told:
        """Return how the heads did in a step, over all ranks; nothing without heads.

        Args:
            losses: () of each micro-batch, heads included.
            heads: float32 (H, 3) of each micro-batch as of `HeadLosses.each`, or None.
            runtime: adds up over ranks.
        """
        if not self._specs:
            return Told({}, {})
        each = torch.zeros(len(self._specs), 3, dtype=torch.float64, device=runtime.device)
        for one in heads:
            if one is not None:
                each += one
        shares, right, counts = runtime.sum_over_ranks(each).cpu().unbind(dim=1)
        whole = torch.stack(list(losses)).sum(dtype=torch.float64)
        found = Told({}, {})
        if self._text:
            text = float(runtime.sum_over_ranks(whole)) - float(shares.sum())
            found.losses[f"head/{TEXT}"] = text / self._text
        for at, (name, spec) in enumerate(self._specs.items()):
            if counts[at]:
                found.losses[f"head/{name}"] = float(shares[at]) / spec.weight
                found.accuracy[name] = float(right[at] / counts[at])
        return found

    def _known(
        self, batch: Batch, notes: Sequence[SampleNote], key: LabelKey, sources: Mapping[str, float]
    ) -> _Known:
        labels: list[int] = []
        weights: list[float] = []
        for kind in key.kinds:
            for note in notes:
                for one in note.labels:
                    if (one.name, one.kind) == (key.name, kind):
                        labels += one.classes
                        weights += [note.weight * sources[note.source]] * len(one.classes)
        places = media_places(batch, {kind: self._tokens[kind] for kind in key.kinds})
        return _Known(places, torch.tensor(labels, dtype=torch.long), torch.tensor(weights))


def media_places(batch: Batch, tokens: Mapping[Modality, int]) -> Tensor:
    """Return int64 (B, T), the number of the medium that each position is a row of; -1 elsewhere.

    Media are counted kind by kind, those of a kind in reading order, row after row of the batch.

    Args:
        batch: padded or packed.
        tokens: kind of media -> its placeholder token.
    """
    spans = {
        Modality.IMAGE: batch.get("image_spans"),
        Modality.VIDEO: batch.get("video_spans"),
        Modality.AUDIO: batch.get("audio_spans"),
    }
    ids, count = batch["input_ids"], 0
    places = torch.full_like(ids, -1)
    for kind, token in tokens.items():
        table = spans[kind]
        if table is not None:
            numbers = torch.arange(count, count + len(table)).repeat_interleave(table[:, 1])
            places = places.masked_scatter(ids == token, numbers)
            count += len(table)
    return places


def label_keys(loss: LossSpec) -> tuple[LabelKey, ...]:
    """Return where the rows of a stage hold the labels of its heads."""
    return tuple(
        LabelKey(name, spec.label, spec.classes, _KINDS[_media(name, spec)])
        for name, spec in loss.heads.items()
    )


def check_heads(stage: str, loss: LossSpec, taken: Collection[Modality]) -> None:
    """Check the heads of a stage against the model.

    Args:
        stage: its name.
        loss: its loss.
        taken: media that the model takes.

    Raises:
        ConfigError: an option is out of its range, or the model does not take a head's media.
    """
    where = f"stage {stage!r}: loss"
    if not 0 <= loss.text < math.inf:
        raise ConfigError(f"{where}.text is {loss.text}, expected a number of 0 or more.")
    if not loss.text and not loss.heads:
        raise ConfigError(f"{where}.text is 0 and there are no heads: nothing would be learned.")
    for name, spec in loss.heads.items():
        head = f"{where}.heads.{name}"
        if name == TEXT or not name.isidentifier():
            raise ConfigError(
                f"{head}: a head's name is made of letters, digits and _, and is not {TEXT!r}. "
                "Choose another."
            )
        if spec.classes < 2 or not 0 < spec.weight < math.inf or not spec.label:
            raise ConfigError(
                f"{head} has the label {spec.label!r}, {spec.classes} classes and the weight "
                f"{spec.weight}; expected a key of the rows, 2 or more, and above 0."
            )
        kinds = _KINDS[_media(name, spec)]
        if not set(kinds) & set(taken):
            raise ConfigError(
                f"{head} tells {' and '.join(kinds)}, which the model does not take; it takes "
                f"{', '.join(sorted(taken)) or 'text alone'}. Remove the head."
            )


def add_heads(
    model: HocketForConditionalGeneration, stage: Stage, at: Path | None
) -> dict[str, tuple[Group, tuple[str, ...]]]:
    """Give the model the heads of a stage, and no other.

    Args:
        model: changed in place.
        stage: its settings.
        at: checkpoint of this stage whose heads are read; None starts the stage.

    Returns:
        group -> its learning rate and the names of its parameters, one for each head.

    Raises:
        CheckpointError: the checkpoint's heads are others, or damaged.
    """
    specs = stage.loss.heads
    model.heads = None
    if not specs:
        return {}
    classes = {name: spec.classes for name, spec in specs.items()}
    weight = model.lm_head.weight
    heads = MediaHeads(classes, width=model.config.text_config.hidden_size)
    model.heads = heads.to(weight.device, weight.dtype)
    if at is not None:
        read_heads(at, model)
    return {
        f"{HEADS}{name}": (
            Group(match=f"head {name}", lr=spec.lr, weight_decay=spec.weight_decay),
            tuple(f"{HEADS}{key_of(name)}.{part}" for part in ("weight", "bias")),
        )
        for name, spec in specs.items()
    }


def _media(name: str, spec: HeadSpec) -> HeadMedia:
    """Return which media a head tells.

    Raises:
        ConfigError: neither its options nor its name say so.
    """
    if spec.media is not None:
        return spec.media
    if name not in list(HeadMedia):
        raise ConfigError(
            f"loss.heads.{name}: its name is none of {', '.join(HeadMedia)}, so it does not say "
            "what it tells. Add media, such as media: vision."
        )
    return HeadMedia(name)
