from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig
from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

from hocket._errors import ConfigError
from hocket.parts.vision.siglip2_vision_model import Siglip2Vision

TINY = {
    "patch_size": 8,
    "num_patches": 16,
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def test_patches_are_flattened_as_transformers_does() -> None:
    tower = Siglip2Vision.build(AutoConfig.for_model("siglip2_vision_model", **TINY)).eval()
    pixels = torch.rand(2, 3, 32, 32)
    flat = torch.stack([torch.tensor(convert_image_to_patches(one.numpy(), 8)) for one in pixels])
    with torch.inference_mode():
        x = Siglip2Vision.encode(tower, pixels, {"layer": -2, "drop": 0}, None)
        output = tower(
            flat, torch.ones(2, 16), torch.tensor([[4, 4]] * 2), output_hidden_states=True
        )
    torch.testing.assert_close(x, output.hidden_states[-2], rtol=0, atol=1e-6)
    assert Siglip2Vision.inputs(tower.config, {}) == {"size": 32, "patch": 8}


def test_patches_that_make_no_square_are_refused() -> None:
    config = AutoConfig.for_model("siglip2_vision_model", **(TINY | {"num_patches": 15}))
    with pytest.raises(ConfigError, match="num_patches is 15"):
        Siglip2Vision.inputs(config, {})
