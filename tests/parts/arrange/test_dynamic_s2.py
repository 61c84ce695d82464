from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hocket._errors import ConfigError
from hocket.parts.arrange import build_arrange
from hocket.parts.features import Features
from hocket.tokens.layout.image_dynamic_s2 import ImageDynamicS2

FOLDER = Path(__file__).parents[2] / "golden" / "pure_vila"
VECTORS = json.loads((FOLDER / "dynamic_s2_merge.json").read_text())


@pytest.mark.parametrize("one", VECTORS["vectors"], ids=lambda one: str(one["resize_idx"]))
def test_joined_scales_are_those_of_vila(one: dict[str, Any]) -> None:
    tensors, name = load_file(FOLDER / "dynamic_s2_merge.safetensors"), str(one["resize_idx"])
    arrange = build_arrange(
        {"kind": "dynamic_s2", "scales": VECTORS["scales"], "output": one["resize_idx"]}, width=9
    )
    spans = [
        [5 + size[0] * size[1], 0, 1, 0, 0, *size] if size else [1, 0, 1, 0, 0, 1, 1]
        for size in one["block_sizes"]
    ]
    gathered = arrange.gather(Features(tensors[f"{name}.in"], (2, 2), torch.tensor(spans)))
    assert gathered.spans is not None
    assert gathered.spans[:, 5:].tolist() == one["new_block_sizes"]
    assert gathered.x.shape[1:] == (4, arrange.in_width(3))
    # Blocks that pass no connector become the map they were cut from.
    rows = arrange(gathered.x, gathered)
    maps = [tensors[f"{name}.out{number}"][0].flatten(1).T for number in range(len(spans))]
    torch.testing.assert_close(rows, torch.cat(maps), rtol=0, atol=1e-6)


@pytest.mark.parametrize("output", [-1, 0, 1])
def test_rows_are_those_of_the_layout(output: int) -> None:
    layout = ImageDynamicS2(size=28, output=output, rows_per_unit=4)
    arrange = build_arrange({"kind": "dynamic_s2", "output": output}, width=8)
    for where in ({}, {"media": 2}, {"frames": 3}):
        for height, width in ((75, 100), (20, 300), (60, 60)):
            plan = layout.plan(height, width, **where)
            assert arrange.rows(plan, per_unit=4) == plan.rows


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scales": [448]}, "scales is"),
        ({"scales": [2, 1]}, "scales is"),
        ({"output": -4}, "output is -4"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_arrange({"kind": "dynamic_s2"} | options, width=8)
