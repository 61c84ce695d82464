"""Any transformers encoder that reads raw samples through a stack of convolutions.

wav2vec 2.0, HuBERT, WavLM, UniSpeech, data2vec and their relatives. Each sound is put together from
its blocks and goes through the model at its own length, so that neither padding nor neighbours
change it: the group norm of the first convolution reads the whole sound, and takes no mask.

Letters: U units, N samples of a unit, P frames of a unit, S sounds, T frames of the longest sound,
C width.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from hocket._errors import ConfigError
from hocket.parts.audio import audio_encoders
from hocket.parts.encoder import Options, own_options
from hocket.parts.sequences import places_of

BLOCK = 48
# Model types that have convolutions and cannot be used all the same -> why.
_UNFIT = {
    "sew-d": "cannot be tried without numbers, because it computes its tables on the processor. "
    "Choose 'sew', which has the same frames.",
}
_NEEDED = {"conv_kernel", "conv_stride", "hidden_size"}


@dataclass(frozen=True, kw_only=True)
class HfWaveOptions:
    """Options of the kind ``hf``.

    Attributes:
        block: positions of a unit, of which a sound has as many as it needs.
    """

    block: int = BLOCK


@audio_encoders.register
class HfWave:
    """Built by ``AutoModel.from_config``; takes blocks of samples and their mask, (U, 2, N).

    Its own option ``block`` is the number of frames of a block. In training SpecAugment is off: it
    is part of the models' pretraining and refuses sounds shorter than its masks.
    """

    @staticmethod
    def build(config: PreTrainedConfig) -> PreTrainedModel:
        """Return the tower with random weights."""
        config.apply_spec_augment = False
        return AutoModel.from_config(config)

    @staticmethod
    def width(config: PreTrainedConfig, options: Options) -> int:
        """Return the hidden size."""
        return int(config.hidden_size)

    @staticmethod
    def grid(config: PreTrainedConfig, options: Options) -> tuple[int, int]:
        """Return (1, frames of a block)."""
        return 1, own_options("audio encoder", HfWaveOptions, options).block

    @staticmethod
    def inputs(config: PreTrainedConfig, options: Options) -> dict[str, Any]:
        """Return the frames of a block, and what a frame reads in samples.

        Raises:
            ConfigError: the configuration knows no convolutions, or adds others behind its layers.
        """
        found = config.to_dict()
        if not found.keys() >= _NEEDED or found.get("is_encoder_decoder"):
            raise ConfigError(
                f"{config.model_type!r} is no encoder of raw sound by strided convolutions, and "
                "has no file of its own here. Choose one such as 'wav2vec2', 'hubert', 'wavlm', "
                "'sew', 'whisper', 'audio-spectrogram-transformer' or 'whale'."
            )
        if config.model_type in _UNFIT:
            raise ConfigError(f"{config.model_type!r} {_UNFIT[config.model_type]}")
        if _squeeze(config) > 1 and options.get("layer", -1) != -1:
            raise ConfigError(
                f"{config.model_type!r} joins {_squeeze(config)} frames inside and parts them at "
                "its end, so its other layers have fewer. Set layer to -1."
            )
        if found.get("add_adapter"):
            raise ConfigError(
                f"{config.model_type!r} with add_adapter makes fewer frames than its convolutions "
                "say. Set add_adapter to false and let the connector make fewer rows."
            )
        window, stride = reach(config)
        return {
            "block": own_options("audio encoder", HfWaveOptions, options).block,
            "encoder_window": window,
            "encoder_stride": stride,
        }

    @staticmethod
    def encode(
        tower: PreTrainedModel,
        inputs: Tensor,
        options: Options,
        spans: Tensor | None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Return (U, P, C) of samples (U, 2, N); padding is zero."""
        (_, positions), (window, stride) = HfWave.grid(tower.config, options), reach(tower.config)
        counts = torch.ones(len(inputs), dtype=torch.int64) if spans is None else spans[:, 0].cpu()
        sounds = [_joined(units, positions * stride) for units in inputs.split(counts.tolist())]
        frames = [(len(sound) - window) // stride + 1 for sound in sounds]
        longest = max(frames, default=0)
        # A tower that joins frames needs as many as it joins.
        least = window + (_squeeze(tower.config) - 1) * stride
        sounds = [functional.pad(sound, (0, max(0, least - len(sound)))) for sound in sounds]
        x = inputs.new_zeros(len(sounds), longest, tower.config.hidden_size)
        for length in sorted({len(sound) for sound in sounds}):
            chosen = [number for number, sound in enumerate(sounds) if len(sound) == length]
            features = _features(tower, torch.stack([sounds[n] for n in chosen]), options["layer"])
            features = features[:, :longest]
            index = torch.tensor(chosen, device=x.device)
            missing = longest - features.shape[1]
            features = functional.pad(features, (0, 0, 0, missing))
            x = x.index_copy(0, index, features.to(x.dtype))
        empty = inputs.new_empty(len(inputs), positions, 0)
        real = _frames_of_units(frames, counts.tolist(), positions)
        return places_of(empty, spans=spans, lengths=real).split(x)


def reach(config: PreTrainedConfig) -> tuple[int, int]:
    """Return the samples that one frame reads, and those from one frame to the next."""
    steps = list(accumulate(config.conv_stride, int.__mul__, initial=1))
    window = 1 + sum(
        (kernel - 1) * step for kernel, step in zip(config.conv_kernel, steps, strict=False)
    )
    return window, steps[-1]


def _squeeze(config: PreTrainedConfig) -> int:
    """Return how many frames the tower joins inside, as SEW does."""
    return int(config.to_dict().get("squeeze_factor", 1))


def _joined(units: Tensor, step: int) -> Tensor:
    """Turn the blocks (U, 2, N) of one sound, which overlap after `step` samples, into (L,)."""
    both = torch.cat([units[:-1, :, :step].transpose(0, 1).flatten(1), units[-1]], dim=1)
    # Shapes alone, where there are no numbers, are those of a sound that fills its blocks.
    return both[0] if both.is_meta else both[0, both[1] > 0]


def _features(tower: PreTrainedModel, sounds: Tensor, layer: int) -> Tensor:
    """Return (S, T, C) of sounds of one length; layer -1 is the tower's own last output."""
    output = tower(sounds, output_hidden_states=layer != -1)
    return output.last_hidden_state if layer == -1 else output.hidden_states[layer]


def _frames_of_units(frames: list[int], counts: list[int], positions: int) -> Tensor:
    """Return int64 (U,): how many frames of each sound fall in each of its blocks."""
    return torch.tensor(
        [
            min(max(total - number * positions, 0), positions)
            for total, count in zip(frames, counts, strict=True)
            for number in range(count)
        ],
        dtype=torch.int64,
    )
