"""How the next token is chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hocket._errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Options of a generation.

    Attributes:
        max_new_tokens: longest answer in tokens.
        temperature: 0 takes the most likely token; higher is more random.
        top_p: sample from the smallest set of tokens with this probability together.
        top_k: sample from so many most likely tokens; 0 for all.
        seed: seed of the randomness.
        stop: texts that end the answer; they are not part of it.
        thinking: whether the model thinks aloud before it answers, where its template knows how;
            None leaves it to the template.
        thinking_budget: tokens after which a model that thinks aloud is made to answer, as in
            Ovis 2.5; 0 lets it think. It counts with `thinking` alone.

    Raises:
        ConfigError: a value is out of range.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    stop: tuple[str, ...] = ()
    thinking: bool | None = None
    thinking_budget: int = 0

    def __post_init__(self) -> None:
        """Refuse what no token could be drawn from."""
        for name, value, fits, expected in (
            ("max_new_tokens", self.max_new_tokens, self.max_new_tokens >= 0, "at least 0"),
            ("temperature", self.temperature, 0 <= self.temperature < math.inf, "at least 0"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("top_k", self.top_k, self.top_k >= 0, "at least 0; 0 means all tokens"),
            ("thinking_budget", self.thinking_budget, self.thinking_budget >= 0, "at least 0"),
            ("stop", self.stop, "" not in self.stop, "texts that are not empty"),
        ):
            if not fits:
                raise ConfigError(f"sampling: {name} is {value!r}, but must be {expected}.")


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """Return the next token int64 (B,) of logits (B, V)."""
    if sampling.temperature <= 0:
        return logits.argmax(dim=-1)
    scores = logits.float() / sampling.temperature
    if sampling.top_k:
        least = scores.topk(min(sampling.top_k, scores.shape[-1])).values[:, -1:]
        scores = scores.masked_fill(scores < least, -torch.inf)
    if sampling.top_p < 1:
        ordered, index = scores.sort(dim=-1, descending=True)
        before = ordered.softmax(dim=-1).cumsum(dim=-1) - ordered.softmax(dim=-1)
        drop = torch.zeros_like(scores, dtype=torch.bool)
        drop.scatter_(1, index, before >= sampling.top_p)
        scores = scores.masked_fill(drop, -torch.inf)
    return torch.multinomial(scores.softmax(dim=-1), 1, generator=generator)[:, 0]
