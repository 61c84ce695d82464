from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from einops import rearrange
from safetensors.torch import load_file
from tests.parts.vision.imported import imported
from transformers import AutoConfig, AutoModel, CLIPVisionConfig, SiglipVisionConfig

from hocket.checkpoint.import_.keys_internvit import internvit_options, internvit_rules
from hocket.parts.vision.hf import HfVision

GOLDEN = Path(__file__).parents[2] / "golden"

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


@pytest.mark.parametrize(("name", "drop"), [("clip", 1), ("siglip", 0)])
def test_features_are_those_of_vita(name: str, drop: int) -> None:
    tower = AutoModel.from_pretrained(GOLDEN / "towers" / f"{name}-tiny").eval()
    golden = load_file(GOLDEN / "towers" / "features.safetensors")
    for asked in (drop, -1, None):
        options = {"layer": -2, "drop": asked}
        with torch.inference_mode():
            x = HfVision.encode(tower, golden[f"{name}.pixel_values"], options, None)
        torch.testing.assert_close(x, golden[f"{name}.features"][:1], rtol=0, atol=1e-5)


def test_internvit_of_vita_is_read_by_the_general_rule() -> None:
    folder = GOLDEN / "vita15"
    options = internvit_options(json.loads((folder / "internvit.json").read_text("utf-8")))
    tower = imported(
        AutoModel.from_config(AutoConfig.for_model("internvl_vision", **options)),
        load_file(folder / "internvit.safetensors"),
        internvit_rules(source=r"model\.vision_tower\.vision_tower\."),
    )
    golden = load_file(folder / "vision.safetensors")
    with torch.inference_mode():
        x = HfVision.encode(tower, golden["pixel_values"], {"layer": -1, "drop": 1}, None)
    # VITA halves the features and joins squares of 2 x 2.
    squares = rearrange(x * 0.5, "u (h a w b) c -> u (h w) (a b c)", h=2, a=2, w=2, b=2)
    torch.testing.assert_close(squares, golden["features"], rtol=0, atol=1e-5)
