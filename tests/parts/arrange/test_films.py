"""Arrangements of the frames of videos, against the originals' numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.toy import SPEC, TEXTS, assistant, inputs, talk, user, video

from hocket._errors import ConfigError
from hocket.model.build import build
from hocket.model.spec import PartSpec
from hocket.parts.arrange import build_arrange
from hocket.parts.arrange.slow_fast import pool_square
from hocket.parts.connector import build_connector
from hocket.parts.features import Features
from hocket.tokens.batch import pad_batch
from hocket.tokens.span import Modality, Plan

GOLDEN = Path(__file__).parents[2] / "golden"
PATCHES = (4, 4)


def film(*frames: int) -> Features:
    spans = [[count, 0, count, 4, 4, 1, 1] for count in frames]
    x = torch.randn(sum(frames), 16, 6, generator=torch.Generator().manual_seed(0))
    return Features(x, PATCHES, spans=torch.tensor(spans), modality=Modality.VIDEO)


def plan(frames: int) -> Plan:
    return Plan(units=1, patches=PATCHES, rows=16, grid=(1, 4, 4)).repeat(frames)


def test_pooled_squares_are_vitas() -> None:
    golden = load_file(GOLDEN / "pure_vita" / "pool_feats.safetensors")
    for side in (4, 12):
        made = pool_square(golden["in"], side)
        torch.testing.assert_close(made, golden[f"out_{side}x{side}"], rtol=0, atol=1e-6)
    one = pool_square(golden["in"][:1], 3)
    torch.testing.assert_close(one[0], golden["out_3x3_2d"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("slow_fast", {"turns": (3, 2, 2)}),
        ("slow_fast", {"budget": 4096}),
        ("pyramid", {"pools": ("2x1x1", "4x2x4")}),
    ],
)
def test_every_video_has_its_rows_and_pictures_keep_theirs(
    kind: str, options: dict[str, Any]
) -> None:
    arrange = build_arrange({"kind": kind, **options}, width=6)
    given = film(5, 1, 3)
    rows = arrange(given.x, given)
    parts = [arrange.rows(plan(frames), per_unit=16) for frames in (5, 1, 3)]
    assert rows.shape == (sum(parts), 6)
    start = at = 0
    for frames, count in zip((5, 1, 3), parts, strict=True):
        alone = film(frames)._replace(x=given.x[start : start + frames])
        one = arrange(alone.x, alone)
        torch.testing.assert_close(rows[at : at + count], one)
        start, at = start + frames, at + count
    still = given._replace(modality=Modality.IMAGE)
    assert torch.equal(arrange(given.x, still), given.x.flatten(0, 1))


def test_averages_are_those_of_vila_2() -> None:
    golden = load_file(GOLDEN / "pure_vila" / "downsample_pool.safetensors")
    x = golden["tsp_pool.in"]
    pools = ("4x1x1", "2x2x2", "1x4x4")
    given = Features(
        x,
        (4, 4),
        spans=torch.tensor([[len(x), 0, len(x), 4, 4, 1, 1]]),
        modality=Modality.VIDEO,
    )
    made = build_arrange({"kind": "pyramid", "pools": pools}, width=3)(x, given)
    wanted = torch.cat([golden[f"tsp_pool.{one.replace('x', '_')}"].flatten(0, 2) for one in pools])
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("slow_fast", {"turns": [3, 1]}), ("pyramid", {"pools": ["2x1x1", "4x2x2"]})],
)
def test_a_composite_reads_a_video(kind: str, options: dict[str, Any]) -> None:
    assert SPEC.vision is not None
    layout = replace(SPEC.vision.layout, options=SPEC.vision.layout.options | options)
    vision = replace(SPEC.vision, layout=layout, arrange=PartSpec(kind=kind, options=dict(options)))
    model, processor = build(replace(SPEC, vision=vision), TEXTS)
    example = processor.encode(talk(user(video(1, frames=4), "?"), assistant("A dog.")))
    batch = pad_batch([example], pad_id=0, side="right")
    assert model(**inputs(batch)).loss.isfinite()
    wrong = replace(vision, layout=SPEC.vision.layout)
    with pytest.raises(Exception, match="the layout promises"):
        build(replace(SPEC, vision=wrong), TEXTS)
    both = replace(
        vision, connector=PartSpec(kind="temporal_pool", options={"frames": 2}), layout=layout
    )
    with pytest.raises(ConfigError, match="joins 2 frames"):
        build(replace(SPEC, vision=both), TEXTS)


def test_frames_of_several_units_are_joined_by_no_connector() -> None:
    connector = build_connector({"kind": "temporal_pool"}, in_width=6, out_width=4)
    tiled = replace(plan(4), units=12)
    with pytest.raises(ConfigError, match="a video of 4 into 12 units"):
        connector.rows(tiled)
    assert connector.rows(plan(4)) == 16
