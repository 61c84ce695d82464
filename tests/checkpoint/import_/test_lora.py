from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from torch import nn

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.lora import merge_lora
from hocket.checkpoint.import_.weights import Item, Weights


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 4)
        self.first = nn.Linear(4, 6)
        self.second = nn.Linear(6, 3, bias=False)


def weights(tensors: dict[str, torch.Tensor]) -> Weights:
    def item(name: str, tensor: torch.Tensor) -> Item:
        return Item(tensor.dtype, tuple(tensor.shape), lambda: tensor, (name,))

    return Weights({name: item(name, tensor) for name, tensor in tensors.items()})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_rslora": True},
        {"rank_pattern": {"first": 3}, "alpha_pattern": {"second": 32}},
        {"modules_to_save": ["first"], "target_modules": ["second"]},
    ],
)
def test_merges_as_peft_does(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    base = Toy()
    plain = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    config = LoraConfig(
        **({"r": 2, "lora_alpha": 8, "target_modules": ["table", "first", "second"]} | options)
    )
    model = get_peft_model(base, config)  # type: ignore[arg-type] # peft takes any module
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_()
    adapter = {name: one.clone() for name, one in get_peft_model_state_dict(model).items()}
    merged = merge_lora(weights(plain), weights(adapter), config.to_dict() | {"peft_type": "LORA"})
    for name, tensor in model.merge_and_unload().state_dict().items():
        assert torch.allclose(merged[name].read(), tensor, atol=1e-6), name
    assert set(adapter) == {one for item in merged.values() for one in item.origins} - set(plain)


@pytest.mark.parametrize(
    ("name", "shape", "config", "match"),
    [
        ("other.lora_A.weight", (2, 4), {}, "changes other.weight"),
        ("first.lora_A.weight", (2, 4), {}, "half of its pair"),
        ("other.weight", (2, 4), {}, "replaces other.weight"),
        ("first.lora_A.weight", (2, 4), {"use_dora": True}, "cannot be merged"),
        ("first.lora_A.weight", (2, 4), {"peft_type": "IA3"}, "IA3"),
    ],
)
def test_strangers_are_refused(
    name: str, shape: tuple[int, ...], config: dict[str, Any], match: str
) -> None:
    base = weights({"first.weight": torch.zeros(6, 4)})
    adapter = weights({f"base_model.model.{name}": torch.zeros(shape)})
    with pytest.raises(CheckpointError, match=match):
        merge_lora(base, adapter, {"peft_type": "LORA", "r": 2, "lora_alpha": 4} | config)


def test_half_precision_is_rounded_once() -> None:
    base = torch.randn(6, 4).to(torch.bfloat16)
    a, b = torch.randn(2, 4), torch.randn(6, 2)
    names = {"base_model.model.x.lora_A.weight": a, "base_model.model.x.lora_B.weight": b}
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 3}
    made = merge_lora(weights({"x.weight": base}), weights(names), config)["x.weight"].read()
    assert torch.equal(made, (base.float() + 1.5 * (b @ a)).to(torch.bfloat16))
