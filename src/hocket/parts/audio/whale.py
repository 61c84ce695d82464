"""VITA's audio encoder ("whale"): filter banks, two strided convolutions, a Transformer.

Filter banks are normalised by stored statistics, two 3 x 3 convolutions of stride 2 keep a quarter
of the frames, and pre-norm layers follow. Attention adds learned biases to the queries and takes
positions without a relative shift: a key is its projection plus that of its absolute position. A
sound is one sequence, however many units it is cut into, and looks at all of itself, or with
`chunk_size` at its own chunk and the `left_chunks` before it, as the streaming original does:
`WhaleModel.stream` then reads a sound that is still arriving. The original draws random chunks
where it was trained so; here the same sound gives the same features.

Letters: U units, M mel bins, F frames of a unit, P positions of a unit, S sounds, T positions of
the longest sound, C width, A heads, E width of a head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel, initialization
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput

from hocket._errors import ConfigError, MediaError
from hocket.parts.audio import audio_encoders
from hocket.parts.audio._whale_stream import Heard, WhaleStream
from hocket.parts.encoder import Options, own_options
from hocket.parts.sequences import places_of

STRIDE = 4
WINDOW = 7
BLOCK = 24


class WhaleConfig(PreTrainedConfig):  # type: ignore[misc] # transformers ships no types
    """Shape of the tower; the defaults are VITA-1.5's.

    Attributes:
        num_mel_bins: mel bins.
        subsampling_size: width of the convolutions and of what they hand on.
        hidden_size: width of the Transformer.
        intermediate_size: width inside the feed-forward layers.
        num_hidden_layers: layers.
        num_attention_heads: heads.
        max_positions: positions of the longest sound.
        chunk_size: positions of a chunk; 0 lets a sound look at all of itself.
        left_chunks: chunks before its own that a position looks at; -1 for all.
        input_layer: ``linear`` for a linear layer, a norm and ReLU before the layers, or ``none``.
        concat_after: whether a layer joins attention to its own input by a linear layer.
        dropout: share of values dropped in training.
        attention_dropout: share of attention dropped in training.
        layer_norm_eps: epsilon of every norm.
        initializer_range: standard deviation of random weights.
    """

    model_type = "whale"

    num_mel_bins: int = 80
    subsampling_size: int = 1024
    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    max_positions: int = 5000
    chunk_size: int = 0
    left_chunks: int = -1
    input_layer: str = "linear"
    concat_after: bool = False
    dropout: float = 0.1
    attention_dropout: float = 0.0
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02


class WhaleStatistics(nn.Module):
    """Means and inverse deviations of the mel bins, stored with the weights."""

    mean: Tensor
    istd: Tensor

    def __init__(self, mels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(mels))
        self.register_buffer("istd", torch.ones(mels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., M)."""
        return (x - self.mean) * self.istd


class WhaleSubsampling(nn.Module):
    """A quarter of the frames: (U, F, M) becomes (U, P, C)."""

    def __init__(self, config: WhaleConfig) -> None:
        super().__init__()
        width = config.subsampling_size
        self.conv_1 = nn.Conv2d(1, width, kernel_size=3, stride=2)
        self.conv_2 = nn.Conv2d(width, width, kernel_size=3, stride=2)
        bins = ((config.num_mel_bins - 1) // 2 - 1) // 2
        self.linear = nn.Linear(width * bins, width)

    def forward(self, x: Tensor) -> Tensor:
        """Turn (U, F, M) into (U, P, C)."""
        x = functional.relu(self.conv_1(x[:, None]))
        x = functional.relu(self.conv_2(x))
        return self.linear(rearrange(x, "u c p m -> u p (c m)"))


class WhaleAttention(nn.Module):
    """Attention whose keys carry their absolute positions and whose queries carry biases."""

    def __init__(self, config: WhaleConfig) -> None:
        super().__init__()
        width, self.heads = config.hidden_size, config.num_attention_heads
        self.dropout = config.attention_dropout
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self.pos_proj = nn.Linear(width, width, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(self.heads, width // self.heads))
        self.position_bias = nn.Parameter(torch.zeros(self.heads, width // self.heads))

    def forward(
        self, x: Tensor, positions: Tensor, mask: Tensor, heard: Heard | None = None
    ) -> Tensor:
        """Turn (S, T, C) into (S, T, C).

        Args:
            x: the sounds.
            positions: (T, C), the table of positions.
            mask: (S, 1, 1 or T, T), added to the scores.
            heard: what came before and is looked at too; takes what comes now.
        """
        q, k, v = (
            rearrange(layer(x), "s t (a e) -> s a t e", a=self.heads)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        p = rearrange(self.pos_proj(positions), "t (a e) -> a t e", a=self.heads)
        # (q + u) k + (q + v) p is q (k + p) plus what depends on the key alone.
        own = (k * self.content_bias[:, None]).sum(-1) + (p * self.position_bias[:, None]).sum(-1)
        k = k + p
        if heard is not None:
            k, v, own = heard.join(k, v, own)
        bias = own[:, :, None] / math.sqrt(q.shape[-1]) + mask
        bias = bias.expand(-1, -1, q.shape[2], -1)
        dropout = self.dropout if self.training else 0.0
        merged = functional.scaled_dot_product_attention(q, k, v, bias, dropout)
        return self.out_proj(rearrange(merged, "s a t e -> s t (a e)"))


class WhaleFeedForward(nn.Module):
    """Two linear layers with ReLU between them."""

    def __init__(self, config: WhaleConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Turn (S, T, C) into (S, T, C)."""
        return self.fc2(self.dropout(functional.relu(self.fc1(x))))


class WhaleLayer(GradientCheckpointingLayer):  # type: ignore[misc] # transformers ships no types
    """Attention and feed-forward, each behind a norm and added."""

    def __init__(self, config: WhaleConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.norm1 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.attention = WhaleAttention(config)
        self.concat = nn.Linear(2 * width, width) if config.concat_after else None
        self.norm2 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.mlp = WhaleFeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, positions: Tensor, mask: Tensor, heard: Heard | None = None
    ) -> Tensor:
        """Turn (S, T, C) into (S, T, C); the arguments are those of the attention."""
        normed = self.norm1(x)
        seen = self.attention(normed, positions, mask, heard)
        if self.concat is None:
            x = x + self.dropout(seen)
        else:
            x = x + self.concat(torch.cat([normed, seen], dim=-1))
        return x + self.dropout(self.mlp(self.norm2(x)))


class WhaleModel(PreTrainedModel):  # type: ignore[misc] # transformers ships no types
    """The tower."""

    config_class = WhaleConfig
    main_input_name = "input_features"
    input_modalities = ("audio",)
    supports_gradient_checkpointing = True
    _no_split_modules = ("WhaleLayer",)
    _supports_sdpa = True

    def __init__(self, config: WhaleConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        if width % (2 * config.num_attention_heads):
            raise ConfigError(
                f"whale: hidden_size is {width}, expected a multiple of twice the "
                f"{config.num_attention_heads} heads. Change one of them."
            )
        self.statistics = WhaleStatistics(config.num_mel_bins)
        self.subsampling = WhaleSubsampling(config)
        self.embedding = _input_layer(config)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(WhaleLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, WhaleAttention):
            initialization.xavier_uniform_(module.content_bias)
            initialization.xavier_uniform_(module.position_bias)
        if isinstance(module, WhaleStatistics):
            initialization.zeros_(module.mean)
            initialization.ones_(module.istd)

    def forward(
        self,
        input_features: Tensor,
        spans: Tensor | None = None,
        lengths: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> BaseModelOutput:
        """Turn blocks of filter banks (U, M, F) into (U, P, C); padding is zero.

        Args:
            input_features: blocks of P positions with all F = 4 P + 3 frames that they read.
            spans: int64 (S, 7): sounds and their units; None when every unit is a sound.
            lengths: int64 (U,) positions that are not padding; None when all are.
            output_hidden_states: whether to return the embeddings and every layer's output too.

        Raises:
            MediaError: a sound has more positions than the encoder.
        """
        x = self.subsampling(self.statistics(rearrange(input_features, "u m f -> u f m")))
        places = places_of(x, spans=spans, lengths=lengths)
        if places.sequences[1] > self.config.max_positions:
            raise MediaError(
                f"a sound has {places.sequences[1]} positions, but the audio encoder reads at "
                f"most {self.config.max_positions}. Cut it into shorter sounds."
            )
        x, positions = self.embed(places.join(x))
        mask = self._mask(places.real(), x.dtype)
        states = [places.split(x)] if output_hidden_states else []
        for layer in self.layers:
            x = layer(x, positions, mask)
            if output_hidden_states:
                states.append(places.split(x))
        return BaseModelOutput(
            last_hidden_state=places.split(self.norm(x)),
            hidden_states=tuple(states) if output_hidden_states else None,
        )

    def embed(self, x: Tensor, *, start: int = 0) -> tuple[Tensor, Tensor]:
        """Return what goes into the layers, (S, T, C), and its positions (T, C) from `start`."""
        x = self.embedding(x) * math.sqrt(self.config.hidden_size)
        table = sinusoids(x.shape[1], x.shape[2], device=x.device, dtype=x.dtype, start=start)
        return self.dropout(x), self.dropout(table)

    def stream(self) -> WhaleStream:
        """Return a reader of one sound that is still arriving, with its own memory.

        Raises:
            ConfigError: the tower looks at whole sounds.
        """
        return WhaleStream(self)

    def _mask(self, real: Tensor, dtype: torch.dtype) -> Tensor:
        """Return (S, 1, 1 or T, T), added to scores: what a position may look at."""
        seen = rearrange(real, "s t -> s 1 1 t")
        if self.config.chunk_size > 0:
            longest = real.shape[1]
            near = chunks_seen(
                longest, self.config.chunk_size, self.config.left_chunks, device=real.device
            )
            seen = seen & near
        # Finite, since nothing is left for the padding of a batch to look at.
        return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)


def _input_layer(config: WhaleConfig) -> nn.Sequential:
    """Return what stands between the convolutions and the layers: (S, T, C) to (S, T, C)."""
    width = config.hidden_size
    if config.input_layer == "linear":
        return nn.Sequential(
            nn.Linear(config.subsampling_size, width),
            nn.LayerNorm(width, eps=config.layer_norm_eps),
            nn.Dropout(config.dropout),
            nn.ReLU(),
        )
    if config.input_layer != "none":
        raise ConfigError(
            f"whale: input_layer is {config.input_layer!r}, expected 'linear' or 'none'."
        )
    if config.subsampling_size != width:
        raise ConfigError(
            f"whale: without an input layer subsampling_size is {config.subsampling_size}, "
            f"expected hidden_size, {width}. Set input_layer to 'linear' or make them equal."
        )
    return nn.Sequential()


def chunks_seen(length: int, chunk: int, left: int, *, device: torch.device) -> Tensor:
    """Return bool (T, T): each position looks at its own chunk and at `left` before it.

    Args:
        length: positions, T.
        chunk: positions of a chunk.
        left: chunks before the own one; -1 for all.
        device: where the result is needed.
    """
    number = torch.arange(length, device=device) // chunk
    seen = number[:, None] >= number
    return seen if left < 0 else seen & (number[:, None] - left <= number)


def sinusoids(
    length: int, width: int, *, device: torch.device, dtype: torch.dtype, start: int = 0
) -> Tensor:
    """Return the positions (T, C) from `start`: sines at even and cosines at odd channels."""
    steps = torch.arange(0, width, 2, device=device, dtype=torch.float32)
    rates = torch.exp(steps * -(math.log(10000.0) / width))
    places = torch.arange(start, start + length, device=device, dtype=torch.float32)
    angles = places[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).to(dtype)


AutoConfig.register("whale", WhaleConfig, exist_ok=True)
AutoModel.register(WhaleConfig, WhaleModel, exist_ok=True)


@dataclass(frozen=True, kw_only=True)
class WhaleOptions:
    """Options of the kind ``whale``.

    Attributes:
        block: positions of a unit, of which a sound has as many as it needs.
    """

    block: int = BLOCK


@audio_encoders.register
class Whale:
    """VITA's audio encoder; takes blocks of filter banks, float (U, M, F)."""

    @staticmethod
    def build(config: PreTrainedConfig) -> PreTrainedModel:
        """Return the tower with random weights and statistics that change nothing."""
        return WhaleModel(config)

    @staticmethod
    def width(config: PreTrainedConfig, options: Options) -> int:
        """Return the hidden size."""
        return int(config.hidden_size)

    @staticmethod
    def grid(config: PreTrainedConfig, options: Options) -> tuple[int, int]:
        """Return (1, positions of a block)."""
        return 1, own_options("audio encoder", WhaleOptions, options).block

    @staticmethod
    def inputs(config: PreTrainedConfig, options: Options) -> dict[str, Any]:
        """Return the mel bins, the positions of a block and of the longest sound."""
        return {
            "mels": int(config.num_mel_bins),
            "block": Whale.grid(config, options)[1],
            "encoder_stride": STRIDE,
            "encoder_window": WINDOW,
            "max_positions": int(config.max_positions),
        }

    @staticmethod
    def encode(
        tower: PreTrainedModel,
        inputs: Tensor,
        options: Options,
        spans: Tensor | None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Return (U, P, C); layer -1 is the tower's normalised output."""
        layer = options["layer"]
        output = tower(inputs, spans, lengths, output_hidden_states=layer != -1)
        return output.last_hidden_state if layer == -1 else output.hidden_states[layer]
