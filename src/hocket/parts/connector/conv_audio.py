"""VITA's adapters: convolutions along the frames of a sound, then one linear layer.

``subsampling`` halves the frames, looking ahead: VITA-1.5 has one convolution of stride 2, VITA-1.0
a causal one before it (`convolutions` = 2). ``cnn`` keeps the frames with two causal convolutions,
and ``linear`` projects them. A sound is one sequence however many units it is cut into, and what
lies beyond its ends is zero. `prompts` learned rows stand before every sound.

Letters: U units, P positions of a unit, S sounds, T positions of the longest sound, C encoder
width, H width inside, D language width, N rows of sounds, R rows with the learned ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from hocket._errors import ConfigError
from hocket.parts.connector import Connector, connectors
from hocket.parts.connector._stacking import count_stacks
from hocket.parts.features import Features
from hocket.parts.sequences import places_of
from hocket.tokens.span import Plan


@connectors.register
class ConvAudio(Connector):
    """Convolve, normalise, activate, project."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            adapter: ``subsampling`` halves the frames; ``cnn`` and ``linear`` keep them.
            convolutions: convolutions of ``subsampling``, 1 or 2.
            kernel: frames that a convolution reads.
            norm: ``layer`` or ``batch``, behind the only convolution of ``subsampling``; two
                convolutions have batch norms.
            activation: ``gelu`` or ``relu``, behind that norm; two convolutions have ReLU.
            prompts: learned rows before every sound.
        """

        adapter: Literal["subsampling", "cnn", "linear"] = "subsampling"
        convolutions: int = 1
        kernel: int = 5
        norm: Literal["layer", "batch"] = "layer"
        activation: Literal["gelu", "relu"] = "gelu"
        prompts: int = 0

    def __init__(self, config: Config, *, in_width: int, out_width: int) -> None:
        super().__init__()
        _check(config)
        self.kernel = config.kernel
        self.stride = 2 if config.adapter == "subsampling" else 1
        self.conv_1: ConvBlock | None = None
        self.conv_2: ConvBlock | None = None
        width = in_width
        two = config.adapter == "cnn" or config.convolutions == 2
        if config.adapter != "linear":
            if two:
                self.conv_1 = ConvBlock(width, config.kernel, 1, norm="batch", activation="relu")
                width *= 2
            self.conv_2 = ConvBlock(
                width,
                config.kernel,
                self.stride,
                norm="batch" if two else config.norm,
                activation="relu" if two else config.activation,
            )
            width *= 2
        self.linear = nn.Linear(width, out_width)
        self.prompts = nn.Embedding(config.prompts, out_width) if config.prompts else None

    def rows(self, plan: Plan) -> int:
        """The learned rows and one row per stride that begins with a real position."""
        learned = self.prompts.num_embeddings if self.prompts is not None else 0
        return learned + count_stacks(plan, self.stride)

    def forward(self, features: Features) -> Tensor:
        """Turn (U, P, C) into (R, D)."""
        places = places_of(
            features.x, spans=features.spans, lengths=features.lengths, multiple=self.stride
        )
        real = places.real()
        x = places.join(features.x)
        if x.shape[1] == 0:
            return features.x.new_zeros(0, self.linear.out_features)
        behind = self.kernel - 1
        if self.conv_1 is not None:
            x = self.conv_1(x, real, before=behind)
        if self.conv_2 is not None:
            if self.stride == 1:
                x = self.conv_2(x, real, before=behind)
            else:
                real = real[:, :: self.stride]
                x = self.conv_2(x, real, after=behind)
        rows = self.linear(x[real])
        if self.prompts is None:
            return rows
        return _with_prompts(rows, self.prompts.weight, real.sum(dim=1))


class ConvBlock(nn.Module):
    """A convolution that doubles the width, a norm and an activation.

    Args:
        width: channels that come in.
        kernel: frames that the convolution reads.
        stride: frames from one output to the next.
        norm: ``layer`` or ``batch``.
        activation: ``gelu`` or ``relu``.
    """

    def __init__(self, width: int, kernel: int, stride: int, *, norm: str, activation: str) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, 2 * width, kernel, stride)
        self.norm: nn.Module = (
            nn.LayerNorm(2 * width, eps=1e-3)
            if norm == "layer"
            # The original's momentum, which keeps hardly more than the last batch.
            else nn.BatchNorm1d(2 * width, eps=1e-3, momentum=0.99)
        )
        self.act: nn.Module = nn.GELU() if activation == "gelu" else nn.ReLU()

    def forward(self, x: Tensor, real: Tensor, *, before: int = 0, after: int = 0) -> Tensor:
        """Turn (S, T, C) into (S, T', H), zero where bool `real` (S, T') is false."""
        x = functional.pad(rearrange(x, "s t c -> s c t"), (before, after))
        x = rearrange(self.conv(x), "s c t -> s t c")[:, : real.shape[1]]
        # Statistics of a batch norm are those of real frames.
        values = self.act(self.norm(x[real]))
        places = real.flatten().nonzero()[:, 0]
        filled = values.new_zeros(real.numel(), values.shape[-1]).index_copy(0, places, values)
        return filled.unflatten(0, real.shape)


def _check(config: ConvAudio.Config) -> None:
    limits = {
        "kernel": (config.kernel, config.kernel >= 1, "1 or more"),
        "prompts": (config.prompts, config.prompts >= 0, "0 or more"),
        "convolutions": (config.convolutions, config.convolutions in (1, 2), "1 or 2"),
    }
    for name, (value, right, expected) in limits.items():
        if not right:
            raise ConfigError(f"connector 'conv_audio': {name} is {value}, expected {expected}.")


def _with_prompts(rows: Tensor, prompts: Tensor, counts: Tensor) -> Tensor:
    """Put learned rows before the (N, D) rows of each sound, of which there are `counts` (S,)."""
    parts = []
    for own in rows.split(counts.tolist()):
        parts += [prompts.to(rows.dtype), own]
    return torch.cat(parts)
