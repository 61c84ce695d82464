from __future__ import annotations

import torch
from transformers import LlavaNextConfig
from transformers.models.llava_next.modeling_llava_next import LlavaNextModel

from hocket.parts.arrange import build_arrange
from hocket.parts.features import Features
from hocket.tokens.layout.image_anyres import ImageAnyres, Merge


def test_rows_are_those_of_transformers() -> None:
    grids = ("1x2", "2x1", "2x2", "3x1", "1x3", "1x1")
    config = LlavaNextConfig(
        vision_config={"model_type": "clip_vision_model", "image_size": 56, "patch_size": 14},
        image_grid_pinpoints=[[int(one[2]) * 56, int(one[0]) * 56] for one in grids],
    )
    with torch.device("meta"):
        twin = LlavaNextModel(config)
    arrange = build_arrange({"kind": "spatial_unpad"}, width=8)
    newline = arrange.get_parameter("image_newline").detach()
    layout = ImageAnyres(size=56, grids=grids, merge=Merge.UNPAD, snap=True)
    sizes = [(30, 40), (1, 50), (50, 1), (61, 125), (56, 56), (100, 110), (47, 752)]
    plans = [layout.plan(*size) for size in sizes]
    assert {plan.tiles for plan in plans} >= {(1, 1), (1, 3), (2, 2)}
    tiles = [torch.randn(plan.units, 16, 8) for plan in plans]
    wanted, counts = twin.pack_image_features(tiles, torch.tensor(sizes), "default", newline)
    assert counts.tolist() == [plan.rows for plan in plans]
    spans = [[one.units, one.rows, *one.grid, *one.tiles] for one in plans]
    rows = arrange(torch.cat(tiles), Features(torch.cat(tiles), (4, 4), torch.tensor(spans)))
    torch.testing.assert_close(rows, torch.cat(wanted), rtol=0, atol=0)


def test_every_frame_ends_with_the_newline() -> None:
    arrange = build_arrange({"kind": "spatial_unpad"}, width=8)
    frames = torch.randn(2, 4, 8)
    spans = torch.tensor([[2, 10, 2, 2, 2, 1, 1]])
    rows = arrange(frames, Features(frames, (2, 2), spans))
    newline = arrange.get_parameter("image_newline")
    assert torch.equal(rows[4], newline)
    assert torch.equal(rows[9], newline)
    assert torch.equal(rows[5:9], frames[1])
