from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor, WhisperConfig

from hocket._errors import ConfigError
from hocket.parts.audio.hf import HfWave, reach
from hocket.tokens.layout.audio_wave import AudioWave

TINY: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": [8, 8, 8],
    "conv_kernel": [10, 3, 2],
    "conv_stride": [5, 2, 2],
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("wav2vec2", {}),
    ("wav2vec2", {"feat_extract_norm": "layer", "do_stable_layer_norm": True}),
    ("hubert", {}),
    ("wavlm", {}),
    ("unispeech", {}),
    ("unispeech-sat", {}),
    ("data2vec-audio", {"conv_pos_kernel_size": 5, "num_conv_pos_embeddings": 2}),
]
every_case = pytest.mark.parametrize(("model_type", "more"), CASES)
OPTIONS = {"layer": -1, "drop": 0, "block": 24}
SAMPLES = (3000, 700, 33, 700)


def made(model_type: str, more: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    return HfWave.build(AutoConfig.for_model(model_type, **(TINY | more))).eval()


def layout_of(tower: Any) -> AudioWave:
    return AudioWave(**HfWave.inputs(tower.config, OPTIONS))


def batch(tower: Any) -> tuple[list[np.ndarray], Tensor, Tensor, list[list[int]]]:
    """Return sounds, their units and spans, and the real frames of each unit of each sound."""
    layout = layout_of(tower)
    rng = np.random.default_rng(0)
    waves = [rng.standard_normal(samples, dtype=np.float32) for samples in SAMPLES]
    plans = [layout.plan(len(wave)) for wave in waves]
    cut = zip(waves, plans, strict=True)
    units = torch.from_numpy(np.concatenate([layout.units(wave, plan) for wave, plan in cut]))
    spans = torch.tensor([[plan.units, plan.rows, *plan.grid, 1, 1] for plan in plans])
    return waves, units, spans, [layout.lengths(plan) for plan in plans]


@every_case
def test_features_are_those_of_each_sound_alone(model_type: str, more: dict[str, Any]) -> None:
    tower = made(model_type, more)
    waves, units, spans, lengths = batch(tower)
    assert len(lengths[0]) > 2
    twin = Wav2Vec2FeatureExtractor(do_normalize=True)
    with torch.inference_mode():
        for layer in (-1, 1):
            x = HfWave.encode(tower, units, OPTIONS | {"layer": layer}, spans)
            assert x.shape == (len(units), 24, 16)
            parts = iter(x)
            for wave, own in zip(waves, lengths, strict=True):
                given = twin(wave, sampling_rate=16000, return_tensors="pt")["input_values"]
                output = tower(given, output_hidden_states=True)
                expected = output.last_hidden_state if layer == -1 else output.hidden_states[layer]
                blocks = [next(parts) for _ in own]
                real = torch.cat(
                    [block[:length] for block, length in zip(blocks, own, strict=True)]
                )
                torch.testing.assert_close(real, expected[0], rtol=0, atol=2e-5)
                assert not blocks[-1][own[-1] :].any()


@every_case
def test_shapes_are_known_without_numbers(model_type: str, more: dict[str, Any]) -> None:
    tower = made(model_type, more)
    _, units, spans, _ = batch(tower)
    with torch.device("meta"):
        empty = HfWave.build(tower.config)
    with torch.inference_mode():
        x = HfWave.encode(empty, units.to("meta"), OPTIONS, spans)
    height, width = HfWave.grid(tower.config, OPTIONS)
    assert x.shape == (len(units), height * width, HfWave.width(tower.config, OPTIONS))


def test_what_a_frame_reads_is_the_arithmetic_of_the_convolutions() -> None:
    assert reach(AutoConfig.for_model("wav2vec2")) == (400, 320)
    tower = made("wav2vec2", {})
    assert reach(tower.config) == (30, 20)
    for samples in (30, 49, 50, 3000):
        frames = tower(torch.randn(1, samples)).last_hidden_state.shape[1]
        assert sum(AudioWave(encoder_window=30, encoder_stride=20).plan(samples).valid or ()) == (
            frames
        )


def test_short_sounds_train() -> None:
    tower = made("wav2vec2", {"mask_time_prob": 0.9, "layerdrop": 0.0}).train()
    _, units, spans, _ = batch(tower)
    HfWave.encode(tower, units, OPTIONS, spans).square().sum().backward()
    silent = {name for name, value in tower.named_parameters() if value.grad is None}
    assert silent == {"masked_spec_embed"}


def test_half_precision_stays_half_precision() -> None:
    tower = made("wav2vec2", {})
    _, units, spans, _ = batch(tower)
    with torch.inference_mode():
        single = HfWave.encode(tower, units, OPTIONS, spans)
        half = HfWave.encode(tower.bfloat16(), units.bfloat16(), OPTIONS, spans)
    assert half.dtype == torch.bfloat16
    assert (half.float() - single).abs().mean() < 0.1 * single.abs().mean()


def test_models_that_read_no_samples_are_refused() -> None:
    with pytest.raises(ConfigError, match="'whisper' is no encoder of raw sound"):
        HfWave.inputs(WhisperConfig(), OPTIONS)
    config = AutoConfig.for_model("wav2vec2", add_adapter=True)
    with pytest.raises(ConfigError, match="Set add_adapter to false"):
        HfWave.inputs(config, OPTIONS)


def test_it_builds_what_transformers_does() -> None:
    tower = made("hubert", {})
    assert type(tower) is type(AutoModel.from_config(AutoConfig.for_model("hubert", **TINY)))
