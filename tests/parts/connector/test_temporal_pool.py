from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from hocket._errors import ConfigError
from hocket.parts.connector import build_connector
from hocket.parts.features import Features
from hocket.tokens.span import Modality, Plan

GOLDEN = load_file(
    Path(__file__).parents[2] / "golden" / "pure_vila" / "downsample_pool.safetensors"
)
ONE = Plan(units=1, patches=(4, 4), rows=16, grid=(1, 4, 4))


def film(x: Tensor, *frames: int) -> Features:
    spans = torch.tensor([[count, 0, count, 4, 4, 1, 1] for count in frames])
    return Features(x, (4, 4), spans=spans, modality=Modality.VIDEO)


def pool(channels: int = 3, **options: Any) -> Any:
    inner = {"inner": {"kind": "identity"}}
    return build_connector(
        {"kind": "temporal_pool"} | inner | options, in_width=channels, out_width=channels
    )


@pytest.mark.parametrize("order", ["pool_first", "project_first"])
@pytest.mark.parametrize("sizes", [(1, 4, 4), (2, 2, 2), (4, 1, 1)])
def test_means_are_those_of_vila2s_video_encoder(sizes: tuple[int, int, int], order: str) -> None:
    frames, height, width = sizes
    expected = GOLDEN[f"tsp_pool.{frames}_{height}_{width}"]
    connector = pool(frames=frames, height=height, width=width, order=order)
    rows = connector(film(GOLDEN["tsp_pool.in"], 8))
    torch.testing.assert_close(rows, expected.flatten(0, 2), rtol=0, atol=1e-6)
    assert connector.rows(ONE.repeat(8, pool=frames)) == len(rows)


@pytest.mark.parametrize("order", ["pool_first", "project_first"])
def test_projection_comes_before_or_behind_the_mean(order: str) -> None:
    connector = pool(frames=2, order=order, inner={"kind": "mlp"})
    x = torch.randn(4, 16, 3)
    if order == "pool_first":
        expected = connector.inner(Features(x.reshape(2, 2, 16, 3).mean(dim=1), (4, 4)))
    else:
        rows = connector.inner(Features(x, (4, 4)))
        expected = rows.reshape(2, 2, 16, 3).mean(dim=1).flatten(0, 1)
    torch.testing.assert_close(connector(film(x, 4)), expected)


def test_runs_end_with_their_video_and_pictures_stay_alone() -> None:
    connector = pool(channels=1, frames=3)
    x = torch.arange(6.0).reshape(6, 1, 1).expand(6, 16, 1)
    assert connector(film(x, 4, 2)).unflatten(0, (-1, 16))[:, 0, 0].tolist() == [1, 3, 4.5]
    pictures = film(x, 4, 2)._replace(modality=Modality.IMAGE)
    assert torch.equal(connector(pictures).unflatten(0, (-1, 16)), x)
    for frames, steps in ((1, 1), (3, 1), (4, 2), (7, 3)):
        assert connector.rows(ONE.repeat(frames, pool=3)) == 16 * steps


def test_times_are_averaged_for_the_inner_connector() -> None:
    connector = pool(
        channels=4, frames=2, inner={"kind": "time_embedding", "inner": {"kind": "identity"}}
    )
    x, times = torch.zeros(3, 16, 4), torch.tensor([1.0, 2.0, 5.0])
    rows = connector(film(x, 3)._replace(times=times)).unflatten(0, (-1, 16))
    alone = connector.inner(
        Features(x[:2], (4, 4), times=torch.tensor([1.5, 5.0]), modality=Modality.VIDEO)
    )
    torch.testing.assert_close(rows, alone.unflatten(0, (-1, 16)))


def test_what_cannot_be_pooled_is_refused() -> None:
    with pytest.raises(ConfigError, match="a grid of 4 x 4 cannot be cut into 3 x 1"):
        pool(height=3).rows(ONE)
    with pytest.raises(ConfigError, match="8 rows per unit form no square"):
        pool(height=2, order="project_first").rows(
            Plan(units=1, patches=(2, 4), rows=8, grid=(1, 2, 4))
        )
    sound = Plan(units=1, patches=(1, 4), rows=4, grid=(4, 1, 1), valid=(4,))
    assert pool().rows(sound) == 4
    with pytest.raises(ConfigError, match="a sound has no squares"):
        build_connector({"kind": "temporal_pool", "height": 2}, in_width=3, out_width=3).rows(sound)
    with pytest.raises(ConfigError, match="its inner connector joins frames too"):
        pool(inner={"kind": "resampler", "frames": 2, "heads": 1})
    with pytest.raises(ConfigError, match="frames is 0"):
        pool(frames=0)
