"""Blank media for a rank that has none, so that every collective of a tower finds every rank.

With FSDP the weights of a tower's block are gathered by all ranks or by none. A rank whose rows
hold no picture while another's do therefore gets a blank one, as a sample of its own at the end of
its last row: packing keeps it apart from the others, nothing of it is learned, and its gradients
are zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np
import torch
from torch import Tensor

from hocket.chat.conversation import Conversation, Message, Part, Role, Text
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.video import Video
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.model.names import PARTS
from hocket.tokens.batch import IGNORED, pack_batch
from hocket.tokens.processor import HocketProcessor
from hocket.train.parallel.reach import Reach
from hocket.train.runtime import Runtime

KINDS = ("image_spans", "video_spans", "audio_spans")
_ALWAYS_USED = ("model.language_model.", "lm_head.")


class MediaJoin:
    """Adds blank media to a batch where another rank has media of a kind and this one has not.

    Args:
        runtime: asks the other ranks.
        processor: encodes the blank media.
        model: where nothing of its language model trains, every step needs every kind: otherwise
            a step without media would have no gradient at all.
        every: give each micro-batch every kind, and leave the zeros that come of it.
    """

    def __init__(
        self,
        runtime: Runtime,
        processor: HocketProcessor,
        model: HocketForConditionalGeneration,
        *,
        every: bool = False,
    ) -> None:
        self._runtime = runtime
        self._pad = processor.tokenizer.pad_token_id
        self._blank: dict[str, dict[str, Tensor]] = {
            kind: dict(pack_batch([[processor.encode(one)]], pad_id=self._pad))  # type: ignore[arg-type] # every value of a Batch is a tensor
            for kind, one in _blanks(processor).items()
        }
        self._trained = {
            name: value for name, value in model.named_parameters() if value.requires_grad
        }
        self._always = every or not any(name.startswith(_ALWAYS_USED) for name in self._trained)
        self._reach = None if every else Reach(model)
        self._kinds = _kinds_by_part(model)
        self._real: set[str] = set()

    def __call__(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the batch with what it lacks; every rank calls it for each micro-batch."""
        joined = dict(batch)
        has = torch.tensor([float(kind in batch) for kind in KINDS])
        anywhere = self._runtime.sum_over_processes(has.to(self._runtime.device)).tolist()
        for kind, count in zip(KINDS, anywhere, strict=True):
            if count:
                self._real.add(kind)
            if kind in self._blank and kind not in batch and (count or self._always):
                joined = self._added(joined, self._blank[kind])
        return joined

    def end_step(self) -> None:
        """Take the gradients away that a single process would not have.

        Those are of what no rank's own samples have used: FSDP makes zeros of them.
        """
        if self._reach is None:
            return
        reached, real = self._reach.take(), self._real
        self._real = set()
        here = torch.tensor([float(name in reached) for name in self._trained])
        used = self._runtime.sum_over_processes(here.to(self._runtime.device)).tolist()
        if self._always and not real:
            # Connectors alone train and no rank has media: zeros are what a single process has too.
            return
        for (name, value), count in zip(self._trained.items(), used, strict=True):
            if not count or not self._by_real(name, real):
                value.grad = None

    def _by_real(self, name: str, real: Set[str]) -> bool:
        """Return whether media that some rank really has lead to a parameter."""
        for path, kinds in self._kinds.items():
            if name.startswith(f"{path}."):
                return bool(kinds & real)
        return True

    def _added(self, batch: dict[str, Tensor], blank: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the batch with a blank sample behind its last row, and padding behind others."""
        rows = len(batch["input_ids"])
        columns = blank["input_ids"].shape[1]
        # Nothing of it is learned, so it may count as a part of the last sample.
        number = int(batch["sample_index"].max())
        tail = {
            "input_ids": self._pad,
            "labels": IGNORED,
            "sample_index": number,
            "loss_weights": 0,
        }
        found = dict(batch)
        for name, fill in tail.items():
            # The weights of preferences are one for each pair.
            if batch[name].shape == batch["input_ids"].shape:
                more = batch[name].new_full((rows, columns), fill)
                if name == "input_ids":
                    more[-1] = blank[name][0].to(more.device)
                found[name] = torch.cat([batch[name], more], dim=1)
        counted = torch.arange(columns, device=batch["position_ids"].device).expand(rows, -1)
        found["position_ids"] = torch.cat([batch["position_ids"], counted], dim=1)
        for name, value in blank.items():
            if name not in {*tail, "position_ids"}:
                found[name] = value.to(batch["input_ids"].device)
        return found


def _kinds_by_part(model: HocketForConditionalGeneration) -> dict[str, Set[str]]:
    """Return which media lead to the parts of a model, by the names that its parameters begin with.

    Videos go through the eye of pictures where they have none of their own.
    """
    image, video, audio = KINDS
    has = {name for name, _ in model.named_modules()}
    found: dict[str, Set[str]] = {}
    for part, own in (("vision", "video"), ("connector", "video_connector")):
        found[PARTS[part]] = {image} if PARTS[own] in has else {image, video}
        found[PARTS[own]] = {video}
    for part in ("audio", "audio_connector"):
        found[PARTS[part]] = {audio}
    return found


def _blanks(processor: HocketProcessor) -> dict[str, Conversation]:
    grey = np.full((64, 64, 3), 128, dtype=np.uint8)
    media: dict[str, Part] = {}
    if processor.images is not None:
        media["image_spans"] = Image.from_array(grey)
    if processor.sampler is not None:
        media["video_spans"] = Video.from_array(np.stack([grey, grey]), np.arange(2) / 2)
    if processor.sounds is not None:
        rate = processor.sounds.rate
        media["audio_spans"] = Audio.from_array(np.zeros(rate, np.float32), rate=rate)
    return {
        kind: Conversation(
            id="blank",
            messages=(
                Message(Role.USER, (medium,)),
                Message(Role.ASSISTANT, (Text("-"),)),
            ),
            source="a blank sample beside a rank's own",
        )
        for kind, medium in media.items()
    }
