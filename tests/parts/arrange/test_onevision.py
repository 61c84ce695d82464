from __future__ import annotations

import pytest
import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from hocket._errors import ConfigError
from hocket.parts.arrange.onevision import OneVision
from hocket.parts.features import Features
from hocket.tokens.span import Modality

WIDTH = 5


def _made(**options: int) -> OneVision:
    torch.manual_seed(0)
    return OneVision(OneVision.Config(**options), width=WIDTH)


def _features(rows: Tensor, *span: int, film: bool = False) -> Features:
    side = int(rows.shape[1] ** 0.5)
    kind = Modality.VIDEO if film else Modality.IMAGE
    spans = torch.tensor([span]) if span else None
    return Features(rows, (side, side), spans=spans, modality=kind)


def test_a_large_map_is_interpolated_and_its_lines_end() -> None:
    arrange, rows = _made(max_maps=1), torch.randn(5, 4, WIDTH)
    made = arrange(rows, _features(rows, 5, 10, 1, 4, 4, 2, 2))
    whole = rearrange(rows[1:], "(r c) (h w) d -> 1 d (r h) (c w)", r=2, h=2)
    # Twice as large in both directions: each cell is the mean of four.
    small = functional.avg_pool2d(whole, 2)
    assert torch.equal(made[:4], rows[0])
    lines = made[4:].reshape(2, 3, WIDTH)
    assert torch.allclose(lines[:, :2], rearrange(small, "1 d h w -> h w d"), atol=1e-6)
    assert torch.equal(lines[:, 2], arrange.image_newline.expand(2, -1))


@pytest.mark.parametrize("known", [True, False])
def test_frames_are_halved_and_the_video_ends(known: bool) -> None:
    arrange, rows = _made(), torch.randn(1, 16, WIDTH)
    span = (1, 5, 1, 2, 2, 1, 1) if known else ()
    made = arrange(rows, _features(rows, *span, film=True))
    maps = rearrange(rows, "u (h w) d -> u d h w", h=4)
    half = rearrange(functional.avg_pool2d(maps, 2), "1 d h w -> (h w) d")
    assert torch.allclose(made[:-1], half, atol=1e-6)
    assert torch.equal(made[-1], arrange.image_newline)


def test_one_newline_ends_several_frames() -> None:
    arrange, rows = _made(), torch.randn(3, 16, WIDTH)
    assert len(arrange(rows, _features(rows, 3, 13, 3, 2, 2, 1, 1, film=True))) == 13


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_maps is 0"):
        _made(max_maps=0)
