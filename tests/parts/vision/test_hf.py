from __future__ import annotations

import pytest
import torch
from transformers import CLIPVisionConfig, SiglipVisionConfig

from hocket.parts.vision.hf import HfVision

SMALL = {
    "image_size": 16,
    "patch_size": 4,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
}


@pytest.mark.parametrize(
    ("config", "drop"), [(CLIPVisionConfig(**SMALL), 1), (SiglipVisionConfig(**SMALL), 0)]
)
def test_features_are_the_chosen_hidden_state_without_the_class_token(
    config: CLIPVisionConfig, drop: int
) -> None:
    tower = HfVision.build(config).eval()
    pixels = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        output = tower(pixel_values=pixels, output_hidden_states=True)
        for layer, expected in (
            (-1, output.last_hidden_state),
            (-2, output.hidden_states[-2]),
            (0, output.hidden_states[0]),
        ):
            x = HfVision.encode(tower, pixels, {"layer": layer, "drop": drop}, None)
            assert torch.equal(x, expected[:, drop:])
            assert x.shape == (2, 16, HfVision.width(config, {}))
    assert HfVision.grid(config, {}) == (4, 4)
