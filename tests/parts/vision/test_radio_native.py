"""RADIO on pictures of any size against an independent computation, picture by picture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.toy import SPEC, TEXTS
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel

from hocket._errors import AlignmentError, ConfigError
from hocket.model.build import build
from hocket.model.spec import PartSpec, TowerSpec
from hocket.parts.vision.radio_native import RadioNative
from hocket.tokens.layout.image_native import ImageNative

PATCH, WIDTH, TOKENS = 8, 24, 4 + 4
TINY: dict[str, Any] = {
    "image_size": 32,
    "patch_size": PATCH,
    "hidden_size": WIDTH,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "max_img_size": 96,
    "num_cls_tokens": 4,
    "num_registers": 4,
}
READ = {"kind": "radio_native", "layer": -1, "drop": 0, "scale": 1.0}


@pytest.fixture(scope="module")
def tower() -> PreTrainedModel:
    torch.manual_seed(0)
    made = RadioNative.build(AutoConfig.for_model("radio", **TINY)).eval()
    for value in made.parameters():
        value.data = value + 0.2 * torch.randn_like(value)
    return made


def table_for(made: PreTrainedModel, rows: int, columns: int) -> np.ndarray:
    """Return the position table of a grid (rows * columns, C), one number after the other.

    Bilinear with half-pixel centres: the table becomes a square of the longer side, and the first
    rows and columns of that are taken.
    """
    known = TINY["max_img_size"] // PATCH
    table = made.embeddings.position_embedding.detach().numpy().reshape(known, known, WIDTH)
    side = max(rows, columns)
    found = np.zeros((rows, columns, WIDTH))
    for y in range(rows):
        for x in range(columns):
            for at, share in corners(y, x, known / side, known):
                found[y, x] += share * table[at]
    return found.reshape(rows * columns, WIDTH)


def corners(y: int, x: int, scale: float, known: int) -> list[tuple[tuple[int, int], float]]:
    pairs = []
    for place in (y, x):
        exact = max(0.0, (place + 0.5) * scale - 0.5)
        low = min(int(exact), known - 1)
        high = min(low + 1, known - 1)
        pairs.append([(low, 1 - (exact - low)), (high, exact - low)])
    return [((down, across), a * b) for down, a in pairs[0] for across, b in pairs[1]]


def alone(made: PreTrainedModel, picture: Tensor) -> Tensor:
    """Return the patches (R, C) of a picture (3, H, W), its position table from the formula."""
    rows, columns = picture.shape[1] // PATCH, picture.shape[2] // PATCH
    whitened = made.input_conditioner(picture[None])[0]
    patches = torch.stack(
        [
            whitened[:, y * PATCH : (y + 1) * PATCH, x * PATCH : (x + 1) * PATCH].flatten()
            for y in range(rows)
            for x in range(columns)
        ]
    )
    table = torch.from_numpy(table_for(made, rows, columns)).float()
    embedded = patches @ made.embeddings.patch_projection.weight.T + table
    tokens = torch.cat([made.embeddings.cls_register_token, embedded])
    return made.encoder(tokens[None]).last_hidden_state[0, TOKENS:]


@pytest.mark.parametrize("stride", [1, 2])
@torch.no_grad()
def test_every_size_has_the_positions_of_the_formula(tower: PreTrainedModel, stride: int) -> None:
    rng = np.random.default_rng(0)
    layout = ImageNative(
        patch=PATCH, stride=stride, min_pixels=256, max_pixels=48 * 80, mean=(0,) * 3, std=(1,) * 3
    )
    made, spans, expected = [], [], []
    for height, width in ((32, 80), (64, 48), (48, 48), (16, 96)):
        pixels = rng.integers(0, 256, (1, height, width, 3), dtype=np.uint8)
        plan = layout.plan(height, width)
        assert plan.grid == (1, height // PATCH // stride, width // PATCH // stride)
        made.append(torch.from_numpy(layout.units(pixels, plan)))
        spans.append([plan.units, 0, *plan.grid, 1, 1])
        picture = torch.from_numpy(pixels[0]).permute(2, 0, 1).float() / 255
        patches = alone(tower, picture).reshape(height // PATCH, width // PATCH, WIDTH)
        for y in range(0, height // PATCH, stride):
            for x in range(0, width // PATCH, stride):
                cell = patches[y : y + stride, x : x + stride].reshape(stride**2, WIDTH)
                expected.append(cell)
    options = READ | {"stride": stride}
    found = RadioNative.encode(tower, torch.cat(made), options, torch.tensor(spans))
    torch.testing.assert_close(found, torch.stack(expected), atol=2e-5, rtol=1e-5)
    inner = RadioNative.encode(tower, torch.cat(made), options | {"layer": 1}, torch.tensor(spans))
    assert inner.shape == found.shape
    assert not torch.allclose(inner, found)


@torch.no_grad()
def test_frames_are_pictures_of_their_own(tower: PreTrainedModel) -> None:
    cells = torch.rand(3 * 2 * 2, 4, 3 * PATCH**2)
    film = RadioNative.encode(tower, cells, READ, torch.tensor([[12, 0, 3, 2, 2, 1, 1]]))
    for at in range(3):
        one = cells[4 * at : 4 * at + 4]
        still = RadioNative.encode(tower, one, READ, torch.tensor([[4, 0, 1, 2, 2, 1, 1]]))
        torch.testing.assert_close(film[4 * at : 4 * at + 4], still, atol=1e-5, rtol=1e-5)


def test_a_model_is_built_of_it_and_too_large_pictures_are_said(tower: PreTrainedModel) -> None:
    vision = TowerSpec(
        model_type="radio",
        config=TINY,
        encoder=PartSpec(kind="radio_native"),
        layout=PartSpec(kind="image_native", options={"min_pixels": 256, "max_pixels": 2048}),
        connector=PartSpec(kind="pixel_shuffle"),
    )
    model, processor = build(replace(SPEC, vision=vision, video=None), TEXTS)
    picture = np.zeros((40, 24, 3), np.uint8)
    batch = processor(text=["<image>What?"], images=[picture])
    assert torch.isfinite(model(**batch).logits).all()
    assert processor.image_layout["mean"] == [0.0] * 3
    with pytest.raises(AlignmentError, match=r"14 patches along a side, but the tower knows 12"):
        wide = torch.zeros(7, 4, 3 * PATCH**2)
        RadioNative.encode(tower, wide, READ, torch.tensor([[7, 0, 1, 1, 7, 1, 1]]))


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (TINY, {"stride": 0}, "stride is 0, expected 'radio' and 1 or more"),
        (TINY, {"size": 2}, "has no option 'size'"),
    ],
)
def test_impossible_options_are_refused(
    config: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        RadioNative.inputs(AutoConfig.for_model("radio", **config), READ | options)
