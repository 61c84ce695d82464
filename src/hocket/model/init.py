"""Initial weights for small models that train from scratch.

Transformers draws linear weights with a standard deviation of 0.02, which suits widths of
thousands. At a width of 128 the signal shrinks in every layer and the language model hardly learns
to look: a probe stayed at chance on questions that need picture and sound. Here every weight has a
standard deviation of 1 / sqrt(fan in), which keeps the size of the signal at any width.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from hocket.model.modeling import HocketForConditionalGeneration


@torch.no_grad()
def draw_fan_in(model: HocketForConditionalGeneration, *, seed: int) -> None:
    """Redraw linear, convolution and embedding weights; norms and fixed tables stay.

    Args:
        model: the composite.
        seed: seed of the draw; the same seed gives the same weights.
    """
    generator = torch.Generator().manual_seed(seed)
    tied = model.get_input_embeddings()
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            fan_in = module.weight[0].numel()
            module.weight.normal_(0.0, 1 / math.sqrt(fan_in), generator=generator)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Embedding) and module.weight.requires_grad:
            module.weight.normal_(0.0, 1 / math.sqrt(module.embedding_dim), generator=generator)
    if model.config.tie_word_embeddings:
        model.lm_head.weight = tied.weight
