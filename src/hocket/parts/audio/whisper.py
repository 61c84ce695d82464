"""Whisper's encoder without its decoder; takes log-mel float (U, M, F), halves the frames."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from hocket.parts.audio import audio_encoders
from hocket.parts.encoder import NoOptions, Options, own_options


@audio_encoders.register
class Whisper:
    """The encoder half of a Whisper model."""

    @staticmethod
    def build(config: PreTrainedConfig) -> PreTrainedModel:
        """Return the encoder with random weights and fixed sinusoidal positions."""
        return WhisperEncoder(config)

    @staticmethod
    def width(config: PreTrainedConfig, options: Options) -> int:
        """Return the hidden size."""
        return int(config.d_model)

    @staticmethod
    def grid(config: PreTrainedConfig, options: Options) -> tuple[int, int]:
        """Return (1, encoder frames of one chunk)."""
        return 1, int(config.max_source_positions)

    @staticmethod
    def inputs(config: PreTrainedConfig, options: Options) -> dict[str, Any]:
        """Return the mel bins.

        Raises:
            ConfigError: an option is unknown.
        """
        own_options("audio encoder", NoOptions, options)
        return {"mels": int(config.num_mel_bins)}

    @staticmethod
    def encode(
        tower: PreTrainedModel,
        inputs: Tensor,
        options: Options,
        spans: Tensor | None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Return (U, F / 2, C); layer -1 is the encoder's normalised output."""
        layer = options["layer"]
        output = tower(inputs, output_hidden_states=layer != -1)
        x = output.last_hidden_state if layer == -1 else output.hidden_states[layer]
        return x[:, options["drop"] :]
