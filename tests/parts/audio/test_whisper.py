from __future__ import annotations

import torch
from transformers import WhisperConfig, WhisperModel

from hocket.parts.audio.whisper import Whisper


def test_it_is_the_encoder_of_a_whisper_model() -> None:
    config = WhisperConfig(
        d_model=32,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=64,
        max_source_positions=25,
        vocab_size=50,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    whole = WhisperModel(config).eval()
    half = Whisper.build(config).eval()
    half.load_state_dict(whole.encoder.state_dict(), strict=True)
    mels = torch.randn(2, 80, 50)
    with torch.inference_mode():
        expected = whole.encoder(mels, output_hidden_states=True)
        own = Whisper.encode(half, mels, {"layer": -1, "drop": 0}, None)
        middle = Whisper.encode(half, mels, {"layer": 1, "drop": 0}, None)
    assert torch.equal(own, expected.last_hidden_state)
    assert torch.equal(middle, expected.hidden_states[1])
    assert own.shape == (2, Whisper.grid(config, {})[1], Whisper.width(config, {}))


def test_positions_are_fixed_and_not_random() -> None:
    config = WhisperConfig(d_model=32, encoder_layers=1, encoder_attention_heads=2)
    first, second = (Whisper.build(config).embed_positions.weight for _ in range(2))
    assert torch.equal(first, second)
    assert not first.requires_grad
