"""BLIP-2's Q-Former: learned queries that attend to themselves and to a picture or several frames.

(U, P, C) becomes `queries` rows per unit, or per `frames` frames of a video: transformers'
``Blip2QFormerModel``, then one linear layer. Parameter names are those of transformers'
``Blip2ForConditionalGeneration`` with ``query_tokens``, ``qformer`` and ``language_projection``.
Frames of padding are not read.

Letters: U encoder units, P positions, C encoder width, D language width, G groups of units,
Q queries, W the Q-Former's width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from transformers.models.blip_2.configuration_blip_2 import Blip2QFormerConfig
from transformers.models.blip_2.modeling_blip_2 import Blip2QFormerModel

from hocket._errors import ConfigError
from hocket.parts.connector import Connector, connectors
from hocket.parts.connector._frames import check_frames, count_groups
from hocket.parts.connector._reading import gather_groups
from hocket.parts.features import Features
from hocket.tokens.span import Plan


@connectors.register
class Qformer(Connector):
    """Read any number of positions into a fixed number of rows through BLIP-2's Q-Former."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options. BLIP-2 has 32 queries of width 768, 12 layers and 12 heads.

        Attributes:
            queries: rows of a unit or of a group of frames.
            width: width of the Q-Former; 0 for the encoder's.
            depth: layers.
            heads: attention heads; they divide the width.
            expansion: hidden width of the linear layers, in widths.
            cross_every: of so many layers the first attends to the features.
            dropout: probability that a value is dropped in training.
            frames: frames of a video that are read together.
        """

        queries: int = 32
        width: int = 0
        depth: int = 2
        heads: int = 4
        expansion: int = 4
        cross_every: int = 2
        dropout: float = 0.0
        frames: int = 1

    def __init__(self, config: Config, *, in_width: int, out_width: int) -> None:
        super().__init__()
        width = config.width or in_width
        _check(config, width)
        self.frame_pool = check_frames("qformer", config.frames)
        self.query_tokens = nn.Parameter(torch.randn(1, config.queries, width) * 0.02)
        self.qformer = Blip2QFormerModel(
            Blip2QFormerConfig(
                hidden_size=width,
                num_hidden_layers=config.depth,
                num_attention_heads=config.heads,
                intermediate_size=config.expansion * width,
                cross_attention_frequency=config.cross_every,
                encoder_hidden_size=in_width,
                hidden_dropout_prob=config.dropout,
                attention_probs_dropout_prob=config.dropout,
            )
        )
        self.language_projection = nn.Linear(width, out_width)

    def rows(self, plan: Plan) -> int:
        """One set of queries per unit or group of frames."""
        return count_groups(plan, self.frame_pool) * self.query_tokens.shape[1]

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (G * Q, D)."""
        read, real = gather_groups(features, self.frame_pool)
        queries = repeat(self.query_tokens, "1 q w -> g q w", g=len(read))
        if len(read):  # transformers cannot shape the heads of an empty batch
            queries = self.qformer(
                query_embeds=queries,
                encoder_hidden_states=read,
                encoder_attention_mask=real.long(),
            ).last_hidden_state
        return rearrange(self.language_projection(queries), "g q d -> (g q) d")


def _check(config: Qformer.Config, width: int) -> None:
    for name, value in (
        ("queries", config.queries),
        ("depth", config.depth),
        ("heads", config.heads),
        ("expansion", config.expansion),
        ("cross_every", config.cross_every),
    ):
        if value < 1:
            raise ConfigError(f"connector 'qformer': {name} is {value}, expected 1 or more.")
    if not 0 <= config.dropout < 1:
        raise ConfigError(
            f"connector 'qformer': dropout is {config.dropout}, expected 0 or more and below 1."
        )
    if config.width < 0 or width % config.heads:
        raise ConfigError(
            f"connector 'qformer': {config.heads} heads do not divide the width, {width}. Choose "
            "a number that does."
        )
