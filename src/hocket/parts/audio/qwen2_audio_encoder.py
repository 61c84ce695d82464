"""Qwen2-Audio's encoder: Whisper's with the mean of every two frames before its last norm.

Takes log-mel float (U, M, F) of 30 s chunks, a quarter of whose frames come out; what a chunk's
padding says is masked. A sound's last position, if it is odd, is heard by the others but is part of
no mean.

Letters: U units, M mel bins, F mel frames, P frames that come out, C width.
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from hocket.parts.audio import audio_encoders
from hocket.parts.encoder import NoOptions, Options, own_options

POOL = 2


@audio_encoders.register
class Qwen2AudioEncoder:
    """The encoder half of a Qwen2-Audio model."""

    @staticmethod
    def build(config: PreTrainedConfig) -> PreTrainedModel:
        """Return the encoder with random weights."""
        return AutoModel.from_config(config)

    @staticmethod
    def width(config: PreTrainedConfig, options: Options) -> int:
        """Return the hidden size."""
        return int(config.d_model)

    @staticmethod
    def grid(config: PreTrainedConfig, options: Options) -> tuple[int, int]:
        """Return (1, frames of one chunk): half of the positions, unless a layer is read."""
        return 1, int(config.max_source_positions) // (POOL if options["layer"] == -1 else 1)

    @staticmethod
    def inputs(config: PreTrainedConfig, options: Options) -> dict[str, Any]:
        """Return the mel bins, the mel frames of a position and the positions of a frame.

        Raises:
            ConfigError: an option is unknown.
        """
        own_options("audio encoder", NoOptions, options)
        pool = POOL if options["layer"] == -1 else 1
        return {"mels": int(config.num_mel_bins), "encoder_stride": 2, "encoder_pool": pool}

    @staticmethod
    def encode(
        tower: PreTrainedModel,
        inputs: Tensor,
        options: Options,
        spans: Tensor | None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Return (U, P, C); layer -1 is the encoder's pooled and normalised output."""
        layer, mask = options["layer"], None
        if lengths is not None:
            positions = int(tower.config.max_source_positions)
            seen = (
                torch.arange(positions, device=inputs.device) < lengths.to(inputs.device)[:, None]
            )
            mask = rearrange(
                torch.zeros_like(seen, dtype=inputs.dtype).masked_fill(
                    ~seen, torch.finfo(inputs.dtype).min
                ),
                "u p -> u 1 1 p",
            )
        output = tower(inputs, attention_mask=mask, output_hidden_states=layer != -1)
        return output.last_hidden_state if layer == -1 else output.hidden_states[layer]
