from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig

from hocket.parts.audio.qwen2_audio_encoder import Qwen2AudioEncoder
from hocket.tokens.layout.audio_mel import AudioMel

TINY: dict[str, Any] = {
    "num_mel_bins": 20,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "d_model": 16,
    "max_source_positions": 24,
}
LAST = {"layer": -1, "drop": 0}


def made() -> Any:
    torch.manual_seed(0)
    tower = Qwen2AudioEncoder.build(AutoConfig.for_model("qwen2_audio_encoder", **TINY))
    return tower.eval()


def test_features_are_those_of_transformers() -> None:
    tower = made()
    mels = torch.randn(2, 20, 48)
    with torch.inference_mode():
        output = tower(mels, output_hidden_states=True)
        own = Qwen2AudioEncoder.encode(tower, mels, LAST, None)
        middle = Qwen2AudioEncoder.encode(tower, mels, {"layer": 1, "drop": 0}, None)
    assert torch.equal(own, output.last_hidden_state)
    assert torch.equal(middle, output.hidden_states[1])
    assert own.shape == (2, *Qwen2AudioEncoder.grid(tower.config, LAST)[1:], 16)
    assert middle.shape[1] == Qwen2AudioEncoder.grid(tower.config, {"layer": 1})[1] == 24


def test_padding_is_not_heard() -> None:
    tower = made()
    mels = torch.randn(2, 20, 48)
    louder = mels.clone()
    # Convolutions see one frame beyond the positions that are left.
    louder[1, :, 2 * 11 + 1 :] += 3
    # Of the second sound's 11 positions the last is heard, but no frame's.
    lengths = torch.tensor([24, 11])
    with torch.inference_mode():
        x = Qwen2AudioEncoder.encode(tower, mels, LAST, None, lengths)
        y = Qwen2AudioEncoder.encode(tower, louder, LAST, None, lengths)
    torch.testing.assert_close(x[1, :5], y[1, :5])
    torch.testing.assert_close(x[0], Qwen2AudioEncoder.encode(tower, mels, LAST, None)[0])


def test_the_layout_agrees_about_frames() -> None:
    tower = made()
    for layer, positions in ((-1, 12), (1, 24)):
        given = Qwen2AudioEncoder.inputs(tower.config, {"layer": layer})
        layout = AudioMel(chunk_seconds=0.48, **given)
        assert layout.plan(1).patches == (1, positions)
