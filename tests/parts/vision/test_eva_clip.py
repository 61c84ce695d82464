from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from tests.parts.vision.imported import imported
from torch import Tensor
from transformers import AutoConfig

from hocket.checkpoint.import_.keys_eva import eva_rules
from hocket.parts.vision.eva_clip import EvaClip, EvaClipModel, rotary_angles, rotate_patches

GOLDEN = Path(__file__).parents[2] / "golden" / "towers"
TINY = {
    "image_size": 56,
    "patch_size": 14,
    "hidden_size": 64,
    "intermediate_size": 170,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "rope_grid": 3,
}


def stored() -> dict[str, Tensor]:
    """Return the original's file, whose third block, last norm and head nobody runs."""
    parts = [load_file(GOLDEN / f"eva_{number}.safetensors") for number in range(3)]
    found = {name: value for part in parts for name, value in part.items()}
    return found | {"visual.blocks.2.norm1.weight": torch.ones(64)}


def test_features_are_those_of_vita() -> None:
    tower = imported(
        EvaClipModel(AutoConfig.for_model("eva_clip", **TINY)), stored(), eva_rules(layers=3)
    )
    golden = load_file(GOLDEN / "features.safetensors")
    pixels = golden["eva.pixel_values"]
    with torch.inference_mode():
        everything = tower(pixels, output_hidden_states=True)
        x = EvaClip.encode(tower, pixels, {"layer": -1, "drop": 1}, None)
    torch.testing.assert_close(x, golden["eva.features"][:1], rtol=0, atol=1e-5)
    last = golden["eva.all_features"][:1]
    torch.testing.assert_close(everything.last_hidden_state, last, rtol=0, atol=1e-5)
    assert len(everything.hidden_states) == 3
    assert torch.equal(everything.hidden_states[-1], everything.last_hidden_state)


def test_angles_are_those_that_the_original_keeps_in_its_file() -> None:
    kept = stored()
    cos, sin = rotary_angles(4, 16, pretrained=3, device=torch.device("cpu"))
    torch.testing.assert_close(cos, kept["visual.rope.freqs_cos"], rtol=0, atol=1e-6)
    torch.testing.assert_close(sin, kept["visual.rope.freqs_sin"], rtol=0, atol=1e-6)


def test_rotation_turns_neighbouring_channels_and_leaves_the_class_token() -> None:
    cos, sin = rotary_angles(2, 8, pretrained=2, device=torch.device("cpu"))
    x = torch.randn(1, 1, 5, 8)
    turned = rotate_patches(x, cos, sin)
    assert torch.equal(turned[:, :, 0], x[:, :, 0])
    # The patch of row 1 and column 0: its first four channels turn with the row.
    for pair, angle in ((0, 1.0), (1, 0.01), (2, 0.0), (3, 0.0)):
        a, b = x[0, 0, 3, 2 * pair : 2 * pair + 2].tolist()
        expected = [
            a * math.cos(angle) - b * math.sin(angle),
            b * math.cos(angle) + a * math.sin(angle),
        ]
        torch.testing.assert_close(
            turned[0, 0, 3, 2 * pair : 2 * pair + 2], torch.tensor(expected), rtol=0, atol=1e-5
        )


def test_defaults_are_those_of_the_large_model() -> None:
    config = AutoConfig.for_model("eva_clip")
    assert EvaClip.grid(config, {}) == (24, 24)
    assert EvaClip.width(config, {}) == 1024
    with torch.device("meta"):
        tower = EvaClipModel(config)
    assert len(tower.blocks) == 23
    assert tower.blocks[0].mlp.gate_proj.weight.shape == (2730, 1024)
    assert tower.position_embedding.weight.shape == (577, 1024)
