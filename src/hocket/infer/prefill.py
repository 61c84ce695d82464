"""Prompts on their way into the cache: which go together, and how far they are.

Letters: B rows, N new columns, D language width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hocket.infer.cache import PrefixCache, shared
from hocket.infer.media import MediaRows
from hocket.infer.prompt import Prompt
from hocket.infer.slots import Prefix, Slots, Solo
from hocket.infer.task import Task
from hocket.model.modeling import HocketForConditionalGeneration

MOST_TOKENS = 8192
"""Tokens, padding included, of one forward pass over prompts."""
WORTH_WAITING = 64
"""Tokens in common with a prompt that is being taken in, for which the next one waits its turn."""
MOST_PADDED = 1.25
"""Tokens with padding, as a multiple of those without."""
LITTLE = 64
"""Tokens that hardly lengthen a forward pass."""
LEAST_CHUNK = 16

Lane = Slots[Task] | Solo[Task]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A task with its prompt so far and what the cache knows of that.

    Attributes:
        task: whose it is.
        prompt: the question, with what of the answer was there before it had to make room.
        known: tokens at the beginning that are ready.
        prefix: their keys and values.
    """

    task: Task
    prompt: Prompt
    known: int
    prefix: Prefix | None

    @property
    def new(self) -> int:
        """Tokens to compute."""
        return len(self.prompt) - self.known


def pick(tasks: Sequence[Task], prefixes: PrefixCache) -> list[Candidate]:
    """Return those of the waiting tasks whose prompts are taken in together, first come first.

    Prompts of very different length do not go together, since the shorter ones would be mostly
    padding; nor do prompts that begin alike, since the second can have the first one's work.
    """
    chosen: list[Candidate] = []
    real = widest = 0
    for task in tasks:
        prompt = task.row.whole()
        known, prefix = prefixes.find(prompt.keys)
        one = Candidate(task, prompt, known, prefix)
        width = max(widest, one.new)
        padded = (len(chosen) + 1) * width
        wasteful = padded > MOST_PADDED * (real + one.new) + LITTLE
        if chosen and (padded > MOST_TOKENS or wasteful):
            continue
        if prefixes.kept.limit and any(_worth_waiting(one, other) for other in chosen):
            continue
        chosen.append(one)
        real, widest = real + one.new, width
    return chosen


def _worth_waiting(one: Candidate, other: Candidate) -> bool:
    gained = shared(one.prompt.keys, other.prompt.keys) - one.known
    return gained >= max(WORTH_WAITING, one.new // 2)


class Prefill:
    """Prompts that are taken in together, some columns at a time.

    Args:
        model: the composite.
        media: makes embeddings.
        chosen: prompts.
        lane: room for their keys and values.
        new: columns to compute.
    """

    def __init__(
        self,
        model: HocketForConditionalGeneration,
        media: MediaRows,
        chosen: Sequence[Candidate],
        lane: Lane,
        new: int,
    ) -> None:
        self.lane = lane
        self.done = 0
        self.prompts = {id(one.task): one.prompt for one in chosen}
        self._model = model
        firsts = [max(0, len(one.prompt) - new) for one in chosen]
        rows = media.embed([(one.prompt, first) for one, first in zip(chosen, firsts, strict=True)])
        self._embeds = rows[0].new_zeros((len(rows), new, rows[0].shape[1]))
        self._positions = torch.zeros((len(rows), new), dtype=torch.long)
        for at, (one, first, row) in enumerate(zip(chosen, firsts, rows, strict=True)):
            self._embeds[at, new - len(row) :] = row
            places = torch.from_numpy(one.prompt.positions[first:].copy())
            self._positions[at, new - len(row) :] = places
            one.task.row.cached = first
        self._positions = self._positions.to(self._embeds.device)

    @classmethod
    def together(
        cls,
        model: HocketForConditionalGeneration,
        media: MediaRows,
        chosen: Sequence[Candidate],
        layers: int,
    ) -> Prefill:
        """Take in prompts in one batch."""
        new = max(one.new for one in chosen)
        tasks = [one.task for one in chosen]
        lengths = [len(one.prompt) for one in chosen]
        lane = Slots.of_prompts(layers, tasks, lengths, [one.prefix for one in chosen], new)
        return cls(model, media, chosen, lane, new)

    @classmethod
    def alone(
        cls, model: HocketForConditionalGeneration, media: MediaRows, chosen: Candidate
    ) -> Prefill:
        """Take in one prompt, with the cache that its language model wants."""
        lane = Solo(model.config.text_config, chosen.task)
        return cls(model, media, [chosen], lane, len(chosen.prompt))

    @property
    def left(self) -> int:
        """Columns that are still to compute."""
        return self._embeds.shape[1] - self.done

    def step(self, tokens: int) -> Tensor:
        """Compute about so many tokens and return the logits (B, V) of the last column."""
        columns = min(self.left, max(LEAST_CHUNK, tokens // len(self.lane)))
        if isinstance(self.lane, Solo):
            columns = self.left
        cut = slice(self.done, self.done + columns)
        logits = run(self._model, self.lane, self._embeds[:, cut], self._positions[:, cut])
        self.done += columns
        return logits

    def drop(self, row: int) -> None:
        """Free a row; the last one takes its place, as in its lane."""
        last = len(self.lane) - 1
        for one in (self._embeds, self._positions):
            one[row] = one[last]
        self._embeds, self._positions = self._embeds[:last], self._positions[:last]
        self.lane.drop(row)


def run(
    model: HocketForConditionalGeneration, lane: Lane, embeds: Tensor, positions: Tensor
) -> Tensor:
    """Run the language model over (B, N, D) behind what the lane holds; return logits (B, V)."""
    lane.begin(embeds.shape[1])
    output = model(
        inputs_embeds=embeds,
        attention_mask=lane.mask(embeds.device),
        position_ids=positions,
        past_key_values=lane.cache,
        use_cache=True,
        logits_to_keep=1,
    )
    lane.end()
    logits: Tensor = output.logits[:, -1]
    return logits
