"""Ovis's visual words: each square of patches becomes a mixture of rows of a learned table.

A head scores every word of the vocabulary but the last few, which mark where a medium begins and
ends; the probabilities weigh the rows of the table. A medium's rows stand between the table's own
rows for its beginning and end.

The probabilities of all rows would be the largest tensor of a training step, so rows are taken in
chunks, which are computed again on the way back.

Letters: U encoder units, P positions, C encoder width, D language width, R rows, V words, S spans.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from hocket._errors import ConfigError
from hocket.parts.connector import Connector, connectors
from hocket.parts.features import Features
from hocket.tokens.span import Modality, Plan

# Begin and end of a medium, counted from the first word that marks something.
_MARKS = {Modality.IMAGE: (0, 1), Modality.VIDEO: (2, 3)}


class Tokenize(StrEnum):
    """How scores become weights of words."""

    SOFTMAX = "softmax"
    GUMBEL = "gumbel"
    STRAIGHT_THROUGH = "straight_through"


@connectors.register
class VisualVocab(Connector):
    """Score words, mix their rows, and put a medium between its two marks."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            vocab: words of the table, marks included.
            indicators: last words of the table that mark something and are never mixed: 4 for the
                begin and end of pictures and videos (Ovis 2.5), 0 where the arrangement
                ``tile_marks`` has them (Ovis 1.6 and 2).
            tokenize: ``softmax`` for a mixture, ``straight_through`` for the likeliest word with
                the mixture's gradient, ``gumbel`` for the same with noise while training.
            tau: temperature of ``gumbel``; the attribute `tau` may be changed while training.
            stride: patches along a side of the square that becomes one row; a grid that is no
                multiple is padded with zeros at its right and lower edge.
            marks: whether rows for begin and end stand around the rows of a medium.
            chunk: rows whose probabilities are held at once.
        """

        vocab: int = 65536
        indicators: int = 4
        tokenize: Tokenize = Tokenize.SOFTMAX
        tau: float = 1.0
        stride: int = 2
        marks: bool = True
        chunk: int = 1024

    def __init__(self, config: Config, *, in_width: int, out_width: int) -> None:
        super().__init__()
        if min(config.stride, config.chunk) < 1 or config.tau <= 0:
            raise ConfigError(
                f"connector 'visual_vocab': stride {config.stride}, chunk {config.chunk}, tau "
                f"{config.tau}; expected 1 or more, and above 0 for tau."
            )
        if not (4 if config.marks else 0) <= config.indicators < config.vocab:
            raise ConfigError(
                f"connector 'visual_vocab': {config.indicators} indicators of {config.vocab} "
                "words; expected fewer than words, and at least 4 with marks."
            )
        self.config = config
        self.tau = config.tau
        self.words = config.vocab - config.indicators
        self.head = nn.Linear(in_width * config.stride**2, self.words, bias=False)
        self.norm = nn.LayerNorm(self.words)
        self.table = nn.Embedding(config.vocab, out_width)

    def rows(self, plan: Plan) -> int:
        """One row per square of patches, and the two marks.

        Raises:
            ConfigError: the plan is a sound's.
        """
        if plan.valid is not None:
            raise ConfigError("connector 'visual_vocab' reads pictures, found a sound.")
        height, width = plan.patches
        squares = -(-height // self.config.stride) * -(-width // self.config.stride)
        return plan.units * squares + (2 if self.config.marks else 0)

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (R, D)."""
        squares = self._squares(features)
        count = squares.shape[1]
        x = rearrange(squares, "u k c -> (u k) c")
        recompute = torch.is_grad_enabled() and len(x) > self.config.chunk
        parts = [
            checkpoint(self._mix, one, use_reentrant=False) if recompute else self._mix(one)
            for one in x.split(self.config.chunk)
        ]
        rows = torch.cat(parts)
        if not self.config.marks:
            return rows
        units = [1] * len(features.x) if features.spans is None else features.spans[:, 0].tolist()
        return self._marked(rows, [one * count for one in units], features.modality)

    def scores(self, x: Tensor) -> Tensor:
        """Return the scores (R, V - indicators) of squares (R, stride * stride * C)."""
        return self.norm(self.head(x))

    def weights(self, x: Tensor) -> Tensor:
        """Return the weights (R, V - indicators) of the words for such squares."""
        scores = self.scores(x)
        # Probabilities of so many words are lost in half precision.
        if self.config.tokenize is Tokenize.GUMBEL and self.training:
            return functional.gumbel_softmax(scores.float(), tau=self.tau, hard=True).to(scores)
        soft = functional.softmax(scores, dim=-1, dtype=torch.float32)
        if self.config.tokenize is Tokenize.SOFTMAX:
            return soft.to(scores)
        hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(dim=-1, keepdim=True), 1.0)
        return (hard - soft.detach() + soft).to(scores)

    def _mix(self, x: Tensor) -> Tensor:
        """Return rows (R, D) of squares (R, stride * stride * C)."""
        return self.weights(x) @ self.table.weight[: self.words]

    def _squares(self, features: Features) -> Tensor:
        """Return (U, K, stride * stride * C): the K squares of every unit, row by row."""
        stride, (height, width) = self.config.stride, features.grid
        maps = rearrange(features.x, "u (h w) c -> u h w c", h=height, w=width)
        maps = functional.pad(maps, (0, 0, 0, -width % stride, 0, -height % stride))
        return rearrange(maps, "u (h a) (w b) c -> u (h w) (a b c)", a=stride, b=stride)

    def _marked(self, rows: Tensor, counts: list[int], modality: Modality) -> Tensor:
        """Put every medium's rows, of which (R, D) holds so many each, between its marks."""
        begin, end = (self.table.weight[self.words + place] for place in _MARKS[modality])
        parts: list[Tensor] = []
        for one in rows.split(counts):
            parts += [begin[None].to(rows), one, end[None].to(rows)]
        return torch.cat(parts) if parts else rows
