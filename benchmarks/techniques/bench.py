"""The model and the batches that techniques are judged on, and what a technique is.

Everything comes from `benchmarks/peers/assets.py`, so a step here is a step of the comparison with
peers: the same model, JPEGs and dialogues.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peers.assets import SIZES, TYPICAL, Writer, model_spec, write_pictures, write_tokenizer
from torch import Tensor, nn

from hocket.data.mixture import open_source
from hocket.data.spec import DatasetSpec
from hocket.model.build import build
from hocket.model.loss import supervised_loss
from hocket.model.packing import isolate_samples
from hocket.tokens.batch import pack_batch, pad_batch
from hocket.train.recipe import Group
from hocket.train.trainable import select_trainable, set_modes

Found = dict[str, Tensor]
"""What must not change: loss, gradients or features, by name."""

Way = Callable[[], Found]
Loss = Callable[[Tensor, Tensor, nn.Module], Tensor]


@dataclass(frozen=True)
class Pair:
    """A step with a technique and the same step without it.

    Attributes:
        on: with it.
        off: without it.
        note: what else was measured; asked for when both have run.
        clock: whether only the clock says something, since several cores or processes work.
    """

    on: Way
    off: Way
    note: Callable[[], str] = str
    clock: bool = False


@dataclass(frozen=True)
class Technique:
    """Something that may make a step faster.

    Attributes:
        name: in words.
        state: what hocket does: ``kept``, ``option`` or ``not kept``.
        why: the reason, in a few words.
        make: makes the two ways; None where this machine cannot tell.
        exact: whether loss and gradients must be those of the plain path.
        tests: files of tests that say so.
        judged: whether the ratio alone may speak against what hocket does.
    """

    name: str
    state: str
    why: str
    make: Callable[[Bench], Pair | None]
    exact: bool = True
    tests: str = ""
    judged: bool = True


def at_supervised(hidden: Tensor, labels: Tensor, head: nn.Module) -> Tensor:
    """Return hocket's loss."""
    return supervised_loss(hidden, labels, head, None).total


class Bench:
    """A model in training and some samples of it, packed and padded.

    Args:
        folder: for tokenizer, pictures and dialogues.
        size: of `peers.assets.SIZES`.
        samples: dialogues of a step.
    """

    def __init__(self, folder: Path, size: str, samples: int) -> None:
        chosen = SIZES[size]
        write_tokenizer(folder / "tokenizer", chosen.words)
        write_pictures(folder / "images", chosen.side)
        writer = Writer(TYPICAL)
        rows = [writer.dialogue(number, chosen.longest) for number in range(4 * samples)]
        (folder / "rows.json").write_text(json.dumps(rows))
        self.data = DatasetSpec(path=str(folder / "rows.json"), media_root=str(folder / "images"))
        self.model, self.processor = build(model_spec(chosen, folder / "tokenizer"))
        isolate_samples(self.model, self.processor)
        source = open_source("rows", self.data)
        self.examples = [self.processor.encode(source[at]) for at in range(samples)]
        pad = self.processor.tokenizer.pad_token_id
        self.packed: dict[str, Any] = dict(pack_batch([self.examples], pad_id=pad))
        self.padded: dict[str, Any] = dict(pad_batch(self.examples, pad_id=pad, side="right"))
        self.train("*")

    def train(self, match: str) -> None:
        """Let a part train, ``*`` for all, and freeze the rest."""
        self.model.zero_grad(set_to_none=True)
        select_trainable(self.model, {"all": Group(match=match, lr=1e-4)})
        set_modes(self.model)

    def step(
        self,
        batch: Mapping[str, Any],
        *,
        loss: Loss = at_supervised,
        computing: AbstractContextManager[Any] | None = None,
    ) -> Found:
        """Run forward and backward; return the loss and every gradient."""
        self.model.zero_grad(set_to_none=True)
        inputs = {key: batch[key] for key in batch if key not in ("labels", "sample_index")}
        with computing or nullcontext():
            hidden = self.model.model(**inputs, use_cache=False).last_hidden_state
            total = loss(hidden, batch["labels"], self.model.lm_head)
        total.backward()
        return {"loss": total.detach()} | {
            name: one.grad for name, one in self.model.named_parameters() if one.grad is not None
        }

    def hidden(self) -> tuple[Tensor, Tensor]:
        """Return the packed row's last states (1, T, D) and its labels (1, T)."""
        keys = ("input_ids", "position_ids", "pixel_values", "image_spans")
        inputs = {key: self.packed[key] for key in keys if key in self.packed}
        with torch.no_grad():
            states = self.model.model(**inputs, use_cache=False).last_hidden_state
        return states, self.packed["labels"]
