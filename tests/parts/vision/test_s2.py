from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from transformers import CLIPVisionConfig, CLIPVisionModel, SiglipVisionConfig, SiglipVisionModel

from hocket._errors import ConfigError
from hocket.parts.vision.s2 import S2Vision, multi_scale

GOLDEN = Path(__file__).parents[2] / "golden"
TOY = load_file(GOLDEN / "s2wrapper" / "maps.safetensors")
VECTORS = json.loads((GOLDEN / "s2wrapper" / "maps.json").read_text())["vectors"]
COMMON: dict[str, Any] = {"kind": "s2", "layer": -2, "drop": 0, "scale": 1.0}


def convolve(squares: Tensor) -> Tensor:
    return functional.conv2d(squares, TOY["toy.weight"], stride=4).flatten(2).transpose(1, 2)


@pytest.mark.parametrize(
    "one", [one for one in VECTORS if one["toy"] != "prefix"], ids=lambda one: str(one["index"])
)
def test_maps_are_those_of_the_original(one: dict[str, Any]) -> None:
    options = one["options"]
    made = multi_scale(
        convolve,
        TOY["input"],
        scales=options.get("img_sizes") or [int(16 * scale) for scale in options["scales"]],
        max_split=options.get("max_split_size", 16),
        output=options.get("resize_output_to_idx", 0),
    )
    wanted = TOY[f"out{one['index']}"]
    wanted = wanted.flatten(2).transpose(1, 2) if wanted.ndim == 4 else wanted
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("tower", "options", "item", "units", "features"),
    [
        (
            SiglipVisionModel.from_pretrained(GOLDEN / "towers" / "siglip-tiny"),
            COMMON | {"scales": [56, 112]},
            "towers",
            "siglip_s2",
            "siglip_s2_features",
        ),
        (
            CLIPVisionModel.from_pretrained(GOLDEN / "llava_clip_s2" / "clip-tiny"),
            COMMON | {"drop": 1},
            "llava_clip_s2",
            "units",
            "features",
        ),
    ],
    ids=["siglip", "clip"],
)
@torch.inference_mode()
def test_features_are_those_of_vita_and_llava(
    tower: Any, options: dict[str, Any], item: str, units: str, features: str
) -> None:
    given = np.load(GOLDEN / item / "pixels.npz")
    made = S2Vision.encode(tower.eval(), torch.from_numpy(given[units]), options, None)
    torch.testing.assert_close(made, torch.from_numpy(given[features]), rtol=0, atol=1e-4)
    assert S2Vision.inputs(tower.config, options)["size"] == given[units].shape[-1]
    height, width = S2Vision.grid(tower.config, options)
    assert made.shape[1:] == (height * width, S2Vision.width(tower.config, options))


def small(**changes: int) -> SiglipVisionConfig:
    numbers = {
        "image_size": 20,
        "patch_size": 8,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    return SiglipVisionConfig(**numbers | changes)


def test_inputs_give_the_positions_of_the_output_scale() -> None:
    # 20 pixels hold 2 patches of 8: the margin of 4 grows with the scale.
    first = S2Vision.inputs(small(), COMMON)
    assert first == {"size": 60, "patch": 30}
    assert S2Vision.grid(small(), COMMON) == (2, 2)
    last = COMMON | {"output": -1}
    assert S2Vision.grid(small(), last) == (6, 6)
    assert S2Vision.inputs(small(), last) == {"size": 60, "patch": 10}
    # 1152 pixels hold 82 patches of 14, but 3 x 27 positions.
    so400m = small(image_size=384, patch_size=14)
    assert S2Vision.inputs(so400m, last) == {"size": 1152, "patch": 14, "side": 81}


def test_gradients_reach_the_tower_and_the_pixels() -> None:
    tower = S2Vision.build(small())
    pixels = torch.randn(2, 3, 60, 60, requires_grad=True)
    S2Vision.encode(tower, pixels, COMMON | {"layer": -1}, None).square().sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.any()
    assert tower.get_parameter("embeddings.patch_embedding.weight").grad is not None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scales": [20, 50]}, r"scale 50 gives squares of 16.6667 pixels.*takes 20"),
        ({"scales": [40, 80]}, r"scale 40 gives squares of 40"),
        ({"output": 3}, "output 3"),
        ({"scales": [0]}, "expected sides above 0"),
        ({"colour": 1}, "vision encoder 's2' has no option 'colour'"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        S2Vision.inputs(small(), COMMON | options)


def test_squares_may_be_smaller_than_the_smallest_scale() -> None:
    options = COMMON | {"scales": [40, 60], "max_split": 20}
    assert S2Vision.grid(small(), options) == (4, 4)
    assert S2Vision.inputs(small(), options)["size"] == 60


def test_a_tower_of_other_pictures_is_refused() -> None:
    config = CLIPVisionConfig(image_size=32, patch_size=8)
    assert S2Vision.inputs(config, COMMON) == {"size": 96, "patch": 24}
