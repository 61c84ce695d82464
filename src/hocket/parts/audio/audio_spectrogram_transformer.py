"""AST, the Audio Spectrogram Transformer: a picture of filter banks in overlapping patches.

Takes blocks of Kaldi filter banks as transformers' ``ASTFeatureExtractor`` makes them (windows of
Hann, samples not counted as integers, shifted and scaled by the statistics of AudioSet) and gives
one position for every column of patches. Its two leading tokens show no patch and are left out. A
sound longer than its 10 s is several blocks, which do not see each other.

Letters: U units, M mel bins, F frames of a unit, B bands of patches, P columns of patches, C width.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from einops import rearrange, reduce
from torch import Tensor
from torch.nn import functional
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from hocket.parts.audio import audio_encoders
from hocket.parts.encoder import Options, own_options

# Of AudioSet, as in ``ASTFeatureExtractor``, which halves what it divides.
_MEAN, _STD = -4.2677393, 2 * 4.5689974


class Bands(StrEnum):
    """What the patches of a column become."""

    MEAN = "mean"
    JOIN = "join"


@dataclass(frozen=True, kw_only=True)
class AstOptions:
    """Options of the kind ``audio_spectrogram_transformer``.

    Attributes:
        bands: ``mean`` of the patches of a column (C), or ``join``: side by side (B * C).
    """

    bands: Bands = Bands.MEAN


@audio_encoders.register
class AudioSpectrogramTransformer:
    """Built by ``AutoModel.from_config``; takes blocks of filter banks, float (U, M, F)."""

    @staticmethod
    def build(config: PreTrainedConfig) -> PreTrainedModel:
        """Return the tower with random weights."""
        return AutoModel.from_config(config)

    @staticmethod
    def width(config: PreTrainedConfig, options: Options) -> int:
        """Return C, or B * C."""
        joined = _bands(options) is Bands.JOIN
        return int(config.hidden_size) * (_grid(config)[0] if joined else 1)

    @staticmethod
    def grid(config: PreTrainedConfig, options: Options) -> tuple[int, int]:
        """Return (1, columns of a block)."""
        return 1, _grid(config)[1]

    @staticmethod
    def inputs(config: PreTrainedConfig, options: Options) -> dict[str, Any]:
        """Return the filter banks that the tower was trained with, and what a column reads.

        Raises:
            ConfigError: an option is unknown.
        """
        _bands(options)
        return {
            "mels": int(config.num_mel_bins),
            "window": "hann",
            "integer": False,
            "mean": _MEAN,
            "std": _STD,
            "rest": True,
            "block": _grid(config)[1],
            "encoder_stride": int(config.time_stride),
            "encoder_window": int(config.patch_size),
        }

    @staticmethod
    def encode(
        tower: PreTrainedModel,
        inputs: Tensor,
        options: Options,
        spans: Tensor | None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Return (U, P, C) or (U, P, B * C); layer -1 is the tower's normalised output."""
        layer, config = options["layer"], tower.config
        bands, columns = _grid(config)
        # The frames behind the last column are read by nobody.
        spectra = functional.pad(inputs, (0, config.max_length - inputs.shape[2]))
        output = tower(rearrange(spectra, "u m f -> u f m"), output_hidden_states=layer != -1)
        x = output.last_hidden_state if layer == -1 else output.hidden_states[layer]
        patches = x[:, x.shape[1] - bands * columns :]
        if _bands(options) is Bands.JOIN:
            return rearrange(patches, "u (b p) c -> u p (b c)", b=bands)
        return reduce(patches, "u (b p) c -> u p c", "mean", b=bands)


def _grid(config: PreTrainedConfig) -> tuple[int, int]:
    """Return the bands and columns of patches."""
    bands = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
    return int(bands), int((config.max_length - config.patch_size) // config.time_stride + 1)


def _bands(options: Options) -> Bands:
    return own_options("audio encoder", AstOptions, options).bands
