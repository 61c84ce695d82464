from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import ASTFeatureExtractor, AutoConfig

from hocket._errors import ConfigError
from hocket.parts.audio.audio_spectrogram_transformer import AudioSpectrogramTransformer as Ast
from hocket.tokens.layout.audio_fbank import AudioFbank

TINY: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "num_mel_bins": 40,
    "max_length": 128,
}
LAST = {"kind": "audio_spectrogram_transformer", "layer": -1, "drop": 0, "scale": 1.0}


@pytest.mark.filterwarnings("ignore:At least one mel filter")
@pytest.mark.parametrize("seconds", [0.3, 0.871, 1.0])
def test_spectra_and_features_are_those_of_transformers(seconds: float) -> None:
    torch.manual_seed(0)
    tower = Ast.build(AutoConfig.for_model("audio-spectrogram-transformer", **TINY)).eval()
    layout = AudioFbank(**Ast.inputs(tower.config, LAST))
    wave = 0.1 * np.random.default_rng(0).standard_normal(int(16000 * seconds), np.float32)
    plan = layout.plan(len(wave))
    units = layout.units(wave, plan)
    twin = ASTFeatureExtractor(num_mel_bins=40, max_length=128)
    spectra = twin(wave, sampling_rate=16000, return_tensors="pt")["input_values"]
    read = units.shape[2]
    assert plan.units == 1
    np.testing.assert_allclose(units[0].T, spectra[0, :read].numpy(), rtol=0, atol=2e-3)
    assert 0 <= 128 - read < 10
    with torch.inference_mode():
        output = tower(spectra, output_hidden_states=True)
        wanted = output.last_hidden_state[0, 2:].unflatten(0, (3, 12))
        made = Ast.encode(tower, torch.from_numpy(units), LAST, None)[0]
        torch.testing.assert_close(made, wanted.mean(0), rtol=0, atol=1e-3)
        join = LAST | {"bands": "join", "layer": 1}
        made = Ast.encode(tower, torch.from_numpy(units), join, None)[0]
        wanted = output.hidden_states[1][0, 2:].unflatten(0, (3, 12))
        torch.testing.assert_close(made, wanted.transpose(0, 1).flatten(1), rtol=0, atol=1e-3)
    assert made.shape == (12, Ast.width(tower.config, join))
    assert Ast.grid(tower.config, LAST) == (1, 12)


def test_long_sounds_are_several_blocks() -> None:
    config = AutoConfig.for_model("audio-spectrogram-transformer", **TINY)
    layout = AudioFbank(**Ast.inputs(config, LAST))
    plan = layout.plan(16000 * 3)
    assert (plan.units, plan.rows) == (3, (298 - 16) // 10 + 1)


def test_unknown_options_are_refused() -> None:
    config = AutoConfig.for_model("audio-spectrogram-transformer", **TINY)
    with pytest.raises(ConfigError, match="has no option 'band'"):
        Ast.inputs(config, LAST | {"band": "mean"})
