from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from hocket._errors import ConfigError
from hocket.parts.connector.mlp import Mlp
from hocket.parts.features import Features

GOLDEN = Path(__file__).parents[2] / "golden" / "llava_clip_s2" / "projectors.safetensors"


def test_two_layers_have_the_names_of_llavas_projector() -> None:
    names = set(Mlp(Mlp.Config(), in_width=3, out_width=4).state_dict())
    assert names == {"linear_1.weight", "linear_1.bias", "linear_2.weight", "linear_2.bias"}


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_layers_follow_each_other_with_gelu_between(depth: int) -> None:
    connector = Mlp(Mlp.Config(depth=depth, bias=False), in_width=3, out_width=4)
    x = torch.randn(2, 5, 3)
    expected = x.flatten(0, 1) @ connector.state_dict()["linear_1.weight"].T
    for number in range(2, depth + 1):
        weight = connector.state_dict()[f"linear_{number}.weight"]
        expected = torch.nn.functional.gelu(expected) @ weight.T
    torch.testing.assert_close(connector(Features(x, (1, 5))), expected)


def test_no_layers_are_refused() -> None:
    with pytest.raises(ConfigError, match="depth is 0, expected 1 or more"):
        Mlp(Mlp.Config(depth=0), in_width=3, out_width=4)


@pytest.mark.parametrize(("name", "depth"), [("linear", 1), ("mlp2x_gelu", 2), ("mlp3x_gelu", 3)])
def test_llavas_projectors_give_llavas_rows(name: str, depth: int) -> None:
    golden = load_file(GOLDEN)
    connector = Mlp(Mlp.Config(depth=depth), in_width=32, out_width=20)
    flat = "projector.linear.weights." if depth == 1 else f"projector.{name}.weights.{{}}."
    connector.load_state_dict(
        {
            f"linear_{number}.{leaf}": golden[flat.format(2 * number - 2) + leaf]
            for number in range(1, depth + 1)
            for leaf in ("weight", "bias")
        }
    )
    rows = connector(Features(golden["plain_layer0.features"], (3, 3)))
    torch.testing.assert_close(rows, golden[f"projector.{name}.out"][0], rtol=0, atol=1e-6)


def test_it_is_transformers_llava_projector() -> None:
    config = LlavaConfig(vision_config=CLIPVisionConfig(), text_config=LlamaConfig())
    config.vision_config.hidden_size = 6
    config.text_config.hidden_size = 10
    twin = LlavaMultiModalProjector(config)
    connector = Mlp(Mlp.Config(), in_width=6, out_width=10)
    connector.load_state_dict(twin.state_dict())
    x = torch.randn(2, 5, 6)
    assert torch.equal(connector(Features(x, (1, 5))), twin(x).flatten(0, 1))
