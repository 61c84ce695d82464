"""The merges of LLaVA-1.6 against the recorded original, from pixels to rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from transformers import CLIPVisionConfig

from hocket.parts.arrange import Arrange, build_arrange
from hocket.parts.features import Features
from hocket.parts.vision.hf import HfVision
from hocket.tokens.layout.image_anyres import ImageAnyres, Merge
from hocket.tokens.span import Plan

FOLDER = Path(__file__).parents[2] / "golden" / "llava16_anyres"
MERGED = load_file(FOLDER / "merged.safetensors")
PIXELS = np.load(FOLDER / "pixels.npz")
GRIDS = tuple(f"{wide // 56}x{high // 56}" for wide, high in PIXELS["pinpoints"])


def planned(number: int, merge: Merge) -> Plan:
    layout = ImageAnyres(size=56, grids=GRIDS, merge=merge)
    return layout.plan(*PIXELS[f"picture{number}"].shape[:2])


def spans(*plans: Plan) -> Tensor:
    return torch.tensor([[one.units, one.rows, *one.grid, *one.tiles] for one in plans])


def unpadding() -> Arrange:
    arrange = build_arrange({"kind": "spatial_unpad"}, width=48)
    arrange.load_state_dict({"image_newline": MERGED["newline"]})
    return arrange


def projected(number: int) -> Tensor:
    """Run the checkpoint's tower and projector over a recorded picture."""
    weights = load_file(FOLDER / "eyes.safetensors")
    config = CLIPVisionConfig(**json.loads((FOLDER / "eyes.json").read_text()))
    tower = HfVision.build(config).eval()
    prefix = "model.vision_tower.vision_tower."
    own = {name.removeprefix(prefix): value for name, value in weights.items() if prefix in name}
    names = set(tower.state_dict())
    tower.load_state_dict(
        {key if key in names else key.removeprefix("vision_model."): v for key, v in own.items()}
    )
    x = HfVision.encode(
        tower, torch.from_numpy(PIXELS[f"units{number}"]), {"layer": -2, "drop": 1}, None
    )
    linear = {name.removeprefix("model.mm_projector."): value for name, value in weights.items()}
    x = functional.gelu(functional.linear(x, linear["0.weight"], linear["0.bias"]))
    return functional.linear(x, linear["2.weight"], linear["2.bias"])


@pytest.mark.parametrize(
    ("merge", "arrange", "name"),
    [
        (Merge.UNPAD, unpadding(), "img0"),
        (Merge.SPATIAL, build_arrange({"kind": "spatial"}, width=48), "merge_spatial.img0"),
    ],
)
def test_merges_are_those_of_llava(merge: Merge, arrange: Arrange, name: str) -> None:
    tiles, plan = MERGED["projector_out"], planned(0, merge)
    rows = arrange(tiles, Features(tiles, (4, 4), spans=spans(plan)))
    assert len(rows) == plan.rows
    torch.testing.assert_close(rows, MERGED[name], rtol=0, atol=0)


def test_without_an_arrangement_tiles_follow_each_other() -> None:
    flat = MERGED["projector_out"].flatten(0, 1)
    assert len(flat) == planned(0, Merge.FLAT).rows
    torch.testing.assert_close(flat, MERGED["merge_flat.img0"], rtol=0, atol=0)


@torch.inference_mode()
def test_pictures_of_every_shape_and_two_together_are_those_of_llava() -> None:
    tiles = [projected(number) for number in range(4)]
    plans = [planned(number, Merge.UNPAD) for number in range(4)]
    arrange, batch = unpadding(), torch.cat(tiles)
    rows = arrange(batch, Features(batch, (4, 4), spans=spans(*plans)))
    wanted = torch.cat([MERGED[f"img{number}"] for number in range(4)])
    torch.testing.assert_close(rows, wanted, rtol=0, atol=1e-4)
    both = torch.cat(tiles[:2])
    rows = arrange(both, Features(both, (4, 4), spans=spans(*plans[:2])))
    torch.testing.assert_close(rows, MERGED["two"], rtol=0, atol=1e-4)
