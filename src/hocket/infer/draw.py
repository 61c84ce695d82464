"""The next token of an answer from its logits.

Randomness is a function of seed, choice and position alone. A token is drawn as the winner of an
exponential race, argmax p / e with e exponential, which is a draw from p. Rounding that differs
with the batch changes the winner only where two tokens are all but equal.

Letters: V vocabulary.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hocket.infer.sampling import Sampling

_FEW = 1024
"""Tokens among which top_p looks first, since sorting a whole vocabulary takes longer."""
_COLD = 1e-6
"""Temperature up to which the likeliest token is taken: far below it, float32 has no quotient."""


class Drawer(Protocol):
    """What a row tells about itself."""

    @property
    def sampling(self) -> Sampling:
        """Options of its request."""
        ...

    @property
    def choice(self) -> int:
        """Its number in its request."""
        ...

    @property
    def position(self) -> int:
        """Tokens that it has."""
        ...

    def forced(self, token: int) -> int:
        """Return the token, or another one in its place."""
        ...

    def adjust(self, logits: Tensor) -> Tensor:
        """Return its logits (V,) with penalties, bias and constraint."""
        ...


@dataclass(frozen=True, slots=True)
class Drawn:
    """A token and, where the request wants scores, those of the model.

    Attributes:
        token: its id.
        logprob: logarithm of its probability.
        top: ids and logarithms of the most likely tokens.
    """

    token: int
    logprob: float = 0.0
    top: tuple[tuple[int, float], ...] = ()


def draw(logits: Tensor, row: Drawer, best: int) -> Drawn:
    """Return the next token of a row.

    Args:
        logits: (V,) as the model gives them.
        row: whose they are.
        best: the most likely token.

    Raises:
        ConfigError: its constraint became too complex.
    """
    sampling = row.sampling
    token = best
    if not sampling.greedy:
        adjusted = row.adjust(logits.float()) if sampling.changes_logits else logits.float()
        token = choose(adjusted, sampling, choice=row.choice, position=row.position)
    token = row.forced(token)
    if not sampling.logprobs:
        return Drawn(token)
    return scored(logits, token, sampling.top_logprobs)


def scored(logits: Tensor, token: int, count: int) -> Drawn:
    """Return a token with its score and those of the `count` most likely, of logits (V,)."""
    scores = logits.float().log_softmax(dim=-1)
    top: tuple[tuple[int, float], ...] = ()
    if count:
        values, ids = scores.topk(min(count, len(scores)))
        top = tuple(zip(ids.tolist(), values.tolist(), strict=True))
    return Drawn(token, float(scores[token]), top)


def choose(logits: Tensor, sampling: Sampling, *, choice: int, position: int) -> int:
    """Return a token of logits (V,).

    Args:
        logits: with penalties, bias and constraint.
        sampling: temperature, filters and seed.
        choice: number of the answer in its request.
        position: tokens of the answer so far.
    """
    if sampling.temperature <= _COLD:
        return int(logits.argmax())
    scores = _filtered(logits / sampling.temperature, sampling)
    seed = _seed(sampling.seed, choice, position)
    generator = torch.Generator().manual_seed(seed)
    race = torch.empty(len(scores)).exponential_(generator=generator).clamp_(min=1e-30)
    return int((scores - race.to(scores.device).log()).argmax())


def _filtered(scores: Tensor, sampling: Sampling) -> Tensor:
    """Put the scores (V,) that top_k, top_p and min_p leave out to minus infinity."""
    if sampling.top_k and sampling.top_k < len(scores):
        least = scores.topk(sampling.top_k).values[-1]
        scores = scores.masked_fill(scores < least, -torch.inf)
    if sampling.top_p < 1:
        scores = scores.masked_fill(scores < _least_of(scores, sampling.top_p), -torch.inf)
    if sampling.min_p > 0:
        shares = scores.softmax(dim=-1)
        scores = scores.masked_fill(shares < sampling.min_p * shares.max(), -torch.inf)
    return scores


def _least_of(scores: Tensor, share: float) -> Tensor:
    """Return the lowest score in the smallest set with this share of the probability."""
    whole = scores.logsumexp(dim=-1)
    for count in (min(_FEW, len(scores)), len(scores)):
        ordered = scores.topk(count).values
        summed = (ordered - whole).exp().cumsum(dim=-1)
        enough = summed >= share
        if bool(enough[-1]):
            return ordered[int(enough.int().argmax())]
    return scores.min()


def _seed(*numbers: int) -> int:
    """Return 63 bits that any change of a number changes all over."""
    text = " ".join(map(str, numbers)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1
