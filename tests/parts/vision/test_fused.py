from __future__ import annotations

from typing import Any

import pytest
import torch
from einops import rearrange
from torch.nn import functional
from transformers import AutoConfig

from hocket._errors import ConfigError
from hocket.parts.vision import vision_encoders

Fused = vision_encoders.get("fused")
SMALL = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
WHOLE = {"layer": -1, "drop": 0, "scale": 1.0}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIGHTS: list[dict[str, Any]] = [
    {"model_type": "siglip_vision_model", "config": SMALL | {"intermediate_size": 24}, "layer": -2},
    {"model_type": "dinov2", "config": SMALL | {"hidden_size": 24}, "mean": MEAN, "std": STD},
]


def config(*towers: dict[str, Any]) -> Any:
    return AutoConfig.for_model("fused", towers=list(towers))


def test_each_tower_gets_its_own_statistics_and_channels() -> None:
    both = config(*SIGHTS)
    torch.manual_seed(0)
    tower = Fused.build(both).eval()
    pixels = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        x = Fused.encode(tower, pixels, WHOLE, None)
        one = tower.towers[0]((pixels - 0.5) / 0.5, output_hidden_states=True).hidden_states[-2]
        scaled = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        other = tower.towers[1](scaled).last_hidden_state[:, 1:]
    torch.testing.assert_close(x, torch.cat([one, other], dim=-1))
    assert Fused.width(both, WHOLE) == 40
    assert Fused.inputs(both, WHOLE) == {
        "size": 32,
        "patch": 8,
        "side": 4,
        "mean": (0.0,) * 3,
        "std": (1.0,) * 3,
    }


def test_towers_of_other_sizes_are_brought_to_the_first_grid() -> None:
    larger = {"model_type": "dinov2", "config": SMALL | {"image_size": 48}}
    both = config(SIGHTS[0], larger)
    tower = Fused.build(both).eval()
    assert Fused.inputs(both, WHOLE)["size"] == 48
    assert Fused.grid(both, WHOLE) == (4, 4)
    pixels = torch.rand(1, 3, 48, 48)
    with torch.inference_mode():
        x = Fused.encode(tower, pixels, WHOLE, None)
        maps = tower.towers[1]((pixels - 0.5) / 0.5).last_hidden_state[:, 1:]
    maps = rearrange(maps, "u (h w) c -> u c h w", h=6)
    expected = functional.interpolate(maps, size=(4, 4), mode="bilinear")
    torch.testing.assert_close(x[..., 16:], rearrange(expected, "u c h w -> u (h w) c"))


@pytest.mark.parametrize(
    ("towers", "options", "message"),
    [
        ([], {}, "towers is empty"),
        (SIGHTS, {"layer": -2}, "said for each tower"),
        ([{"model_type": "siglip2_navit"}], {}, "takes no square pictures"),
        ([{"model_type": "dinov2", "colour": 1}], {}, "no option 'colour'"),
    ],
)
def test_impossible_towers_are_refused(
    towers: list[dict[str, Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Fused.inputs(config(*towers), WHOLE | options)
