from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.toy import SPEC, TEXTS
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel

from hocket._errors import ConfigError
from hocket.model.build import build
from hocket.model.spec import PartSpec, TowerSpec
from hocket.parts.vision.radio import RadioVision

TINY: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 24,
    "num_hidden_layers": 9,
    "num_attention_heads": 2,
    "max_img_size": 64,
    "num_cls_tokens": 4,
    "num_registers": 4,
    "summary_idxs": [0, 2, 3, 1],
}


def tower(**options: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    made = RadioVision.build(AutoConfig.for_model("radio", **(TINY | options))).eval()
    for value in made.parameters():
        value.data = value + 0.1 * torch.randn_like(value)
    return made


def read(made: PreTrainedModel, pixels: Tensor, select: str) -> Tensor:
    options = {"layer": -1, "drop": -1, "scale": 1.0, "select": select}
    with torch.inference_mode():
        x = RadioVision.encode(made, pixels, options, None)
    height, width = RadioVision.grid(made.config, options)
    assert x.shape[1:] == (height * width, RadioVision.width(made.config, options))
    return x


def test_every_way_of_reading_takes_its_part_of_the_tower() -> None:
    made, pixels = tower(), torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        output = made(pixels, output_hidden_states=True)
    assert torch.equal(read(made, pixels, "patch"), output.features)
    assert torch.equal(read(made, pixels, "cls").flatten(1), output.summary)
    assert torch.equal(read(made, pixels, "cls4").flatten(1), output.summary)
    states = [state[:, 8:] for state in output.hidden_states]
    # Nine layers: two, two and two of them, and the last output.
    expected = [(states[first] + states[first + 1]) / 2 for first in (1, 3, 5)]
    dense = torch.cat([*expected, output.features], dim=-1)
    torch.testing.assert_close(read(made, pixels, "dense"), dense)


def test_the_layout_leaves_normalising_to_the_tower() -> None:
    for select, patch in (("patch", 8), ("dense", 8), ("cls", 32), ("cls4", 16)):
        given = RadioVision.inputs(AutoConfig.for_model("radio", **TINY), {"select": select})
        assert given == {"size": 32, "patch": patch, "mean": (0.0,) * 3, "std": (1.0,) * 3}


@pytest.mark.parametrize(
    ("options", "select", "message"),
    [
        ({"summary_idxs": [0, 1]}, "cls4", "summary of 2 class tokens"),
        ({"num_hidden_layers": 3}, "dense", "on 3 layers"),
        ({}, "everything", "option 'select'.*found 'everything'"),
    ],
)
def test_impossible_readings_are_refused(
    options: dict[str, Any], select: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        RadioVision.inputs(AutoConfig.for_model("radio", **(TINY | options)), {"select": select})


def test_a_file_with_the_names_of_nvidia_opens(tmp_path: Path) -> None:
    made, pixels = tower(), torch.rand(2, 3, 32, 32)
    for layer in made.encoder.layer:  # the original has no layer scale
        layer.layer_scale1.lambda1.data.fill_(1.0)
        layer.layer_scale2.lambda1.data.fill_(1.0)
    made.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    kept = {name: one for name, one in load_file(file).items() if ".layer_scale" not in name}
    assert "radio_model.model.patch_generator.embedder.weight" in kept
    assert "radio_model.model.blocks.0.attn.qkv.weight" in kept
    save_file(kept, file, metadata={"format": "pt"})
    vision = TowerSpec(
        path=str(tmp_path),
        drop=8,
        layout=PartSpec(kind="image_fixed", options={"fit": "longest"}),
        connector=PartSpec(kind="linear"),
    )
    model, processor = build(replace(SPEC, vision=vision, video=None), TEXTS)
    again = model.model.vision_tower
    assert again is not None
    assert torch.equal(read(again.eval(), pixels, "patch"), read(made, pixels, "patch"))
    assert processor.image_layout["fit"] == "longest"
    assert processor.image_layout["mean"] == [0.0] * 3
